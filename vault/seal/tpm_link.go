package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"coffer/app/domain"
)

const (
	// tpmTimeout bounds one use of a TPM. Real chips need 0.5 to 2 s.
	tpmTimeout = 30 * time.Second
	// tpmGrace is how long after the caller gave up a running command may
	// still take, so that keys and sessions can be flushed.
	tpmGrace = time.Second
	// maxTPMMessage is the largest command or response, in bytes: what the
	// Linux driver's buffer holds.
	maxTPMMessage = 4096
	tpmHeader     = 10 // bytes: tag, size, code
)

// tpmChannel is a device or a connection. Reads must give what is there.
type tpmChannel interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// tpmLink is one conversation: commands one after the other within one
// deadline. It is not for concurrent use; its owner holds a lock.
type tpmLink struct {
	ctx    context.Context // the caller's, for the length of the conversation
	ch     tpmChannel
	stop   func() bool
	broken error // after it, a late response could be taken for the next one
}

var _ transport.TPMCloser = (*tpmLink)(nil)

func checkTPMPath(path string) error {
	rest, unix := strings.CutPrefix(path, "unix:")
	if unix && rest != "" {
		return nil
	}
	if rest, tcp := strings.CutPrefix(path, "tcp:"); tcp {
		if _, _, err := net.SplitHostPort(rest); err == nil {
			return nil
		}
	} else if strings.HasPrefix(path, "/") {
		return nil
	}
	return domain.Fieldf("tpm", "%.60q is not a TPM", path).
		WithHint("use a device such as %s, unix:/path or tcp:host:port", DefaultTPM)
}

// dialTPM starts a conversation of at most tpmTimeout.
func dialTPM(ctx context.Context, path string) (*tpmLink, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(tpmTimeout)
	ch, err := openTPMChannel(ctx, path, deadline)
	if err != nil {
		return nil, fmt.Errorf("opening the TPM: %w", err)
	}
	if err := ch.SetDeadline(deadline); err != nil {
		ch.Close()
		return nil, fmt.Errorf("opening the TPM: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = ch.SetDeadline(time.Now().Add(tpmGrace)) })
	return &tpmLink{ctx: ctx, ch: ch, stop: stop}, nil
}

func openTPMChannel(ctx context.Context, path string, deadline time.Time) (tpmChannel, error) {
	dialer := net.Dialer{Deadline: deadline}
	if rest, ok := strings.CutPrefix(path, "unix:"); ok {
		return dialer.DialContext(ctx, "unix", rest)
	}
	if rest, ok := strings.CutPrefix(path, "tcp:"); ok {
		return dialer.DialContext(ctx, "tcp", rest)
	}
	return openTPMDevice(path)
}

// Close ends the conversation; safe twice.
func (l *tpmLink) Close() error {
	l.stop()
	return l.ch.Close()
}

// Send implements transport.TPM. When the caller has given up, only flushing
// goes on. A command that the TPM asks to send again is sent again.
func (l *tpmLink) Send(command []byte) ([]byte, error) {
	if l.broken != nil {
		return nil, l.broken
	}
	if len(command) < tpmHeader || len(command) > maxTPMMessage {
		return nil, fmt.Errorf("a TPM command of %d bytes", len(command))
	}
	flushing := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCFlushContext
	for wait := time.Millisecond; ; wait *= 2 {
		if err := l.ctx.Err(); err != nil && !flushing {
			return nil, err
		}
		response, err := l.exchange(command)
		if err != nil {
			l.broken = fmt.Errorf("talking to the TPM: %w", err)
			return nil, l.broken
		}
		code := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
		if code != tpm2.TPMRCRetry && code != tpm2.TPMRCYielded && code != tpm2.TPMRCTesting || wait > tpmTimeout/4 {
			return response, nil
		}
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			return response, nil
		}
	}
}

// exchange writes a command and reads its response, which says its length.
func (l *tpmLink) exchange(command []byte) ([]byte, error) {
	if _, err := l.ch.Write(command); err != nil {
		return nil, err
	}
	// A device gives a response in one read and drops what does not fit.
	buf := make([]byte, maxTPMMessage)
	got := 0
	for {
		n, err := l.ch.Read(buf[got:])
		got += n
		if got >= tpmHeader {
			size := int(binary.BigEndian.Uint32(buf[2:]))
			switch {
			case size < tpmHeader || size > maxTPMMessage || got > size:
				return nil, errNotTPM
			case got == size:
				return buf[:size], nil
			}
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil, errNotTPM
		}
		if err != nil {
			return nil, err
		}
	}
}

// errNotTPM means that what answers there does not speak TPM 2.0.
var errNotTPM = errors.New("it does not answer as a TPM 2.0 does")
