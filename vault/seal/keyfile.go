package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"coffer/app/domain"
	"coffer/app/durable"
)

var _ = register(spec{kind: Keyfile, rank: 1, check: checkKeyfile, describe: describeKeyfile})

// Limits of a key file, in bytes. All of its bytes count, a line end too.
const (
	MinKeyfile = 32
	MaxKeyfile = 64 << 10
)

// minDistinct refuses files that somebody filled with one byte or a word; 32
// random bytes have fewer distinct values with a chance below 2^-100.
const minDistinct = 8

// KeyfileSource says where a key file comes from. The names stand in seal.json.
type KeyfileSource string

// The sources of key files.
const (
	// DataDirectory is a file that Coffer made beside the data it protects.
	DataDirectory KeyfileSource = "data-directory"
	// Credential is what systemd's LoadCredential= provides.
	Credential KeyfileSource = "credential"
	// External is any other file, for example a container secret.
	External KeyfileSource = "external"
)

// WarnKeyfileInDataDirectory is what every start with such a key file says.
const WarnKeyfileInDataDirectory = "the key file lies beside the data: it protects nothing against whoever takes the whole disk or a copy of the data directory"

type keyfileParams struct {
	Source KeyfileSource `json:"source"`
}

type keyfileProtector struct {
	path   string
	source KeyfileSource
}

// NewKeyfile protects with the file at path, 32 bytes to 64 KiB that were made
// at random. It is read at each use, so that the content stays in memory no
// longer than needed. Symbolic links are followed, because mounted secrets
// often are such links.
func NewKeyfile(path string, source KeyfileSource) (Protector, error) {
	if path == "" {
		return nil, domain.Fieldf("keyfile", "no path is given").
			WithHint("make one: head -c 32 /dev/urandom > coffer.key; chmod 600 coffer.key")
	}
	if err := checkSource(source); err != nil {
		return nil, domain.Errorf(domain.Internal, "making a key file protector: %w", err)
	}
	return &keyfileProtector{path, source}, nil
}

// CreateKeyfile makes a key file with 32 random bytes and mode 0600 at path,
// which must not exist: the error then matches fs.ErrExist.
func CreateKeyfile(path string) error {
	b := randomBytes(MinKeyfile)
	defer clear(b)
	if err := durable.CreateFile(path, b); err != nil {
		return fmt.Errorf("making a key file: %w", err)
	}
	return nil
}

func (*keyfileProtector) Kind() Kind { return Keyfile }

func (k *keyfileProtector) enrol(_ context.Context, salt []byte) (any, domain.Secret, error) {
	key, err := k.derive(salt)
	return keyfileParams{Source: k.source}, key, err
}

func (k *keyfileProtector) open(_ context.Context, salt []byte, _ json.RawMessage) (domain.Secret, error) {
	return k.derive(salt)
}

func (k *keyfileProtector) refusal() *domain.Error {
	return domain.Errorf(domain.Unauthentic, "the key file %s does not open: it is another file than the one enrolled, or was changed", k.path).
		WithHint("put the right file there, or open with the recovery key: coffer unseal")
}

// derive is HKDF-SHA256 (RFC 5869) over the whole content.
func (k *keyfileProtector) derive(salt []byte) (domain.Secret, error) {
	b, err := k.read()
	if err != nil {
		return domain.Secret{}, err
	}
	defer clear(b)
	key, err := hkdf.Key(sha256.New, b, salt, "coffer/seal/v1/keyfile-content", slotKeySize)
	if err != nil {
		return domain.Secret{}, err
	}
	return domain.NewSecret(key), nil
}

func (k *keyfileProtector) read() ([]byte, error) {
	b, err := readBounded(k.path, MaxKeyfile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, domain.Errorf(domain.Unavailable, "there is no key file at %s: %w", k.path, err).
			WithHint("mount it or put it there, or open with the recovery key: coffer unseal")
	case errors.Is(err, fs.ErrPermission):
		return nil, domain.Errorf(domain.Unavailable, "the key file %s may not be read: %w", k.path, err).
			WithHint("let the user that runs coffer read it, nobody else: chown and chmod 400 %s", k.path)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "reading the key file: %w", err)
	}
	if len(b) < MinKeyfile || !varied(b) {
		clear(b)
		return nil, domain.Errorf(domain.Invalid, "the key file %s does not hold at least %d random bytes", k.path, MinKeyfile).
			WithHint("make one: head -c 32 /dev/urandom > coffer.key; chmod 600 coffer.key")
	}
	return b, nil
}

// varied refuses what is one byte or a word, again and again.
func varied(b []byte) bool {
	var seen [256]bool
	distinct := 0
	for _, c := range b {
		if !seen[c] {
			seen[c], distinct = true, distinct+1
		}
	}
	return distinct >= minDistinct
}

// readBounded reads a plain file of at most limit bytes, following links. It
// does not wait on a pipe.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	if err != nil {
		clear(b)
		return nil, err
	}
	return b, nil
}

func checkSource(s KeyfileSource) error {
	switch s {
	case DataDirectory, Credential, External:
		return nil
	}
	return fmt.Errorf("source %.40q is unknown", s)
}

func checkKeyfile(raw json.RawMessage) error {
	p, err := strict[keyfileParams](raw)
	if err != nil {
		return err
	}
	return checkSource(p.Source)
}

// keyfileSource is the source of a slot, if its kind has one.
func keyfileSource(s *slot) (KeyfileSource, bool) {
	if s.Kind != Keyfile {
		return "", false
	}
	p, err := strict[keyfileParams](s.Params)
	return p.Source, err == nil
}

func describeKeyfile(raw json.RawMessage) (detail, warning string) {
	p, err := strict[keyfileParams](raw)
	switch {
	case err != nil:
		return "", ""
	case p.Source == DataDirectory:
		return "key file in the data directory", WarnKeyfileInDataDirectory
	case p.Source == Credential:
		return "key file from a systemd credential", ""
	default:
		return "key file outside the data directory", ""
	}
}
