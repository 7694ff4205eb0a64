package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"

	"coffer/app/domain"
)

var _ = register(spec{kind: TPM, rank: 3, check: checkTPM, describe: describeTPM})

// DefaultTPM is the kernel's resource-managed device, which several programs
// can use at once. The raw device /dev/tpm0 has no such manager and is never a
// default.
const DefaultTPM = "/dev/tpmrm0"

// maxPCRs bounds the registers of one slot; a TPM reads eight at once.
const maxPCRs = 8

// tpmParamsVersion is the version of the parameters of a TPM slot.
const tpmParamsVersion = 1

type tpmParams struct {
	Version int    `json:"version"`
	SRKName string `json:"srk_name"` // hexadecimal; which storage key the blob hangs under
	PCRs    []int  `json:"pcrs"`     // of the SHA-256 bank, ascending; empty for none
	Key     string `json:"key"`      // TSS2 PRIVATE KEY PEM
}

// TPMOption changes how NewTPM and Probe use a TPM.
type TPMOption func(*tpmProtector)

// WithOwnerAuth gives the password of the owner hierarchy, needed if it has
// one and no storage key is provisioned at 0x81000001. It proves itself by
// HMAC and does not cross the bus. It must stay intact while in use.
func WithOwnerAuth(password domain.Secret) TPMOption {
	return func(t *tpmProtector) { t.ownerAuth = veil(password) }
}

// WithPCRs makes new slots open only while these platform configuration
// registers (0 to 23, SHA-256 bank, at most 8) have their values of now. PCR 7
// is the Secure Boot state. A firmware update that changes them needs the
// recovery key. Without PCRs, everybody who has both the file and access to
// this TPM can open: that protects stolen disks and backups.
func WithPCRs(pcrs ...int) TPMOption {
	return func(t *tpmProtector) { t.pcrs = append([]int{}, pcrs...) }
}

type tpmProtector struct {
	path      string
	ownerAuth veiled
	pcrs      []int      // for new slots
	turn      sync.Mutex // one conversation at a time
}

// NewTPM protects with the TPM 2.0 at path: a device such as DefaultTPM,
// "unix:/path" or "tcp:host:port" for an emulator. The slot's key is a sealed
// data object (TPM 2.0 Library, part 1, section 27.4) under the storage key,
// bound to this TPM. Nothing is contacted before the first use; each use takes
// at most 30 s and leaves neither key nor session behind.
func NewTPM(path string, opts ...TPMOption) (Protector, error) {
	return newTPM(path, opts)
}

func newTPM(path string, opts []TPMOption) (*tpmProtector, error) {
	t := &tpmProtector{path: path, pcrs: []int{}}
	for _, o := range opts {
		o(t)
	}
	if err := checkTPMPath(path); err != nil {
		return nil, err
	}
	slices.Sort(t.pcrs)
	if err := checkPCRs(t.pcrs); err != nil {
		return nil, domain.Fieldf("pcrs", "%v", err).WithHint("PCR 7, the Secure Boot state, is the usual choice")
	}
	return t, nil
}

// Probe says whether a usable TPM answers at path: nil, or a *domain.Error that
// says why not, in a sentence with a hint. Usable means that a storage key can
// be had, as enrolling and opening need.
func Probe(ctx context.Context, path string, opts ...TPMOption) error {
	t, err := newTPM(path, opts)
	if err != nil {
		return err
	}
	return t.talk(ctx, func(l *tpmLink) error {
		srk, err := openStorageKey(l, t.ownerAuth.secret(), pin{})
		if err != nil {
			return err
		}
		srk.close(l)
		return nil
	})
}

func (*tpmProtector) Kind() Kind { return TPM }

func (t *tpmProtector) enrol(ctx context.Context, _ []byte) (any, domain.Secret, error) {
	key := domain.NewSecret(randomBytes(slotKeySize))
	params := tpmParams{Version: tpmParamsVersion, PCRs: t.pcrs}
	err := t.talk(ctx, func(l *tpmLink) error {
		srk, err := openStorageKey(l, t.ownerAuth.secret(), pin{})
		if err != nil {
			return err
		}
		defer srk.close(l)
		blob, err := sealData(l, srk, t.pcrs, key)
		if err != nil {
			return err
		}
		params.SRKName = hex.EncodeToString(srk.name.Buffer)
		params.Key, err = blob.encode()
		return err
	})
	if err != nil {
		key.Zero()
		return nil, domain.Secret{}, err
	}
	return params, key, nil
}

func (t *tpmProtector) open(ctx context.Context, _ []byte, raw json.RawMessage) (domain.Secret, error) {
	p, blob, err := parseTPM(raw)
	if err != nil {
		return domain.Secret{}, fmt.Errorf("decoding the slot's parameters: %w", err)
	}
	name, err := hex.DecodeString(p.SRKName)
	if err != nil {
		return domain.Secret{}, fmt.Errorf("decoding the slot's parameters: %w", err)
	}
	var key domain.Secret
	err = t.talk(ctx, func(l *tpmLink) error {
		srk, err := openStorageKey(l, t.ownerAuth.secret(), pin{name: name, parent: blob.parent})
		if err != nil {
			return err
		}
		defer srk.close(l)
		key, err = unsealData(l, srk, blob, p.PCRs)
		return err
	})
	return key, err
}

func (*tpmProtector) refusal() *domain.Error {
	return domain.Errorf(domain.Sealed, "another or cleared TPM: what it gave does not open the key slot").
		WithHint(hintReenrol)
}

// talk runs a conversation with the TPM and explains its error.
func (t *tpmProtector) talk(ctx context.Context, f func(*tpmLink) error) error {
	t.turn.Lock()
	defer t.turn.Unlock()
	l, err := dialTPM(ctx, t.path)
	if err == nil {
		err = f(l)
		l.Close()
	}
	if err != nil {
		return explain(t.path, err)
	}
	return nil
}

func checkPCRs(pcrs []int) error {
	if len(pcrs) > maxPCRs {
		return fmt.Errorf("%d registers are more than %d", len(pcrs), maxPCRs)
	}
	for i, p := range pcrs {
		if p < 0 || p > 23 {
			return fmt.Errorf("there is no register %d, only 0 to 23", p)
		}
		if i > 0 && pcrs[i-1] >= p {
			return fmt.Errorf("register %d is out of order or named twice", p)
		}
	}
	return nil
}

func parseTPM(raw json.RawMessage) (tpmParams, *sealedBlob, error) {
	p, err := strict[tpmParams](raw)
	if err != nil {
		return p, nil, err
	}
	if p.Version != tpmParamsVersion {
		return p, nil, fmt.Errorf("version %d of the parameters is unknown", p.Version)
	}
	name, err := hex.DecodeString(p.SRKName)
	if err != nil || p.SRKName != strings.ToLower(p.SRKName) || len(name) != 2+32 || !bytes.HasPrefix(name, []byte{0, byte(tpm2.TPMAlgSHA256)}) {
		return p, nil, errors.New("srk_name: not the name of a SHA-256 object")
	}
	if p.PCRs == nil {
		return p, nil, errors.New("pcrs: null")
	}
	if err := checkPCRs(p.PCRs); err != nil {
		return p, nil, fmt.Errorf("pcrs: %w", err)
	}
	blob, err := parseBlob(p.Key)
	if err != nil {
		return p, nil, fmt.Errorf("key: %w", err)
	}
	if !blob.boundTo(p.PCRs) {
		return p, nil, errors.New("key: its policy is not that of the registers named")
	}
	return p, blob, nil
}

// tpmPCRs are the registers that a slot is bound to, if its kind has any.
func tpmPCRs(s *slot) []int {
	if s.Kind != TPM {
		return nil
	}
	p, _, err := parseTPM(s.Params)
	if err != nil {
		return nil
	}
	return p.PCRs
}

func checkTPM(raw json.RawMessage) error {
	_, _, err := parseTPM(raw)
	return err
}

func describeTPM(raw json.RawMessage) (detail, warning string) {
	p, _, err := parseTPM(raw)
	switch {
	case err != nil:
		return "", ""
	case len(p.PCRs) == 0:
		return "this machine's TPM, any boot state", ""
	default:
		return "this machine's TPM, boot state " + pcrNames(p.PCRs), ""
	}
}

func pcrNames(pcrs []int) string {
	names := make([]string, len(pcrs))
	for i, p := range pcrs {
		names[i] = fmt.Sprint(p)
	}
	return "PCR " + strings.Join(names, "+")
}
