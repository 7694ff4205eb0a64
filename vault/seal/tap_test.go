package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"coffer/vault/seal/sealtest"
)

// tap sits on the bus between a client and a TPM, records every byte in both
// directions and may change answers. One client at a time, like the TPM.
type tap struct {
	path string

	mu   sync.Mutex
	seen bytes.Buffer
	// meddle, if set, gets each command's code and response and gives what to
	// answer instead.
	meddle func(cc tpm2.TPMCC, response []byte) []byte
	// fragment makes answers arrive byte by byte.
	fragment bool
}

func startTap(tb testing.TB, tpm *sealtest.TPM) *tap {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "c")
	if err != nil {
		tb.Fatal(err)
	}
	t := &tap{path: filepath.Join(dir, "tap")}
	l, err := net.Listen("unix", t.path)
	if err != nil {
		tb.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.serve(client, tpm.Socket())
		}
	})
	tb.Cleanup(func() {
		l.Close()
		done.Wait()
		_ = os.RemoveAll(dir)
	})
	return t
}

func (t *tap) Path() string { return "unix:" + t.path }

func (t *tap) serve(client net.Conn, upstream string) {
	defer client.Close()
	server, err := net.Dial("unix", upstream)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		command, err := readMessage(client)
		if err != nil {
			return
		}
		if _, err := server.Write(command); err != nil {
			return
		}
		response, err := readMessage(server)
		if err != nil {
			return
		}
		if err := t.answer(client, command, response); err != nil {
			return
		}
	}
}

func (t *tap) answer(client io.Writer, command, response []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Write(command)
	t.seen.Write(response)
	if t.meddle != nil {
		response = t.meddle(tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])), response)
	}
	step := len(response)
	if t.fragment {
		step = 1
	}
	for len(response) > 0 {
		if _, err := client.Write(response[:step]); err != nil {
			return err
		}
		response = response[step:]
	}
	return nil
}

// saw tells whether the bytes crossed the bus in clear, in any direction.
func (t *tap) saw(b []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.seen.Bytes(), b)
}

func (t *tap) recorded() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.Len()
}

func (t *tap) setMeddle(f func(tpm2.TPMCC, []byte) []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.meddle = f
}

// rc is a response that is nothing but a code.
func rc(code tpm2.TPMRC) []byte {
	b := []byte{0x80, 0x01, 0, 0, 0, 10}
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func readMessage(r io.Reader) ([]byte, error) {
	header := make([]byte, 10)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[2:])
	if n < 10 || n > 4096 {
		return nil, errors.New("not a TPM message")
	}
	rest := make([]byte, n-10)
	_, err := io.ReadFull(r, rest)
	return append(header, rest...), err
}
