package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beCoffer makes the test binary be coffer, so that tests run what people run: a
// process of its own, with its flags, its ready block and its signals.
const beCoffer = "COFFER_E2E_BE_COFFER"

// coffer is a Coffer that serves a temporary directory over TLS.
type coffer struct {
	*site
	dir   string
	data  string
	ready map[string]string // the ready block
	ca    string            // the file of its authority
	local *http.Client      // to its local socket

	process *exec.Cmd
	errors  bytes.Buffer
}

// startCoffer starts a Coffer on a new directory, sealed by a key file, without a
// recovery key, as at the first start of all.
func startCoffer(flags ...string) (*coffer, error) {
	dir, err := os.MkdirTemp("", "coffer-e2e-")
	if err != nil {
		return nil, err
	}
	c := &coffer{dir: dir, data: filepath.Join(dir, "data"), ready: map[string]string{}}
	c.process = command(append([]string{"serve", "--data", c.data, "--listen", "127.0.0.1:0", "--seal", "keyfile", "--tpm", "/dev/null"}, flags...)...)
	c.process.Stderr = &c.errors
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	if err := c.waitReady(out); err != nil {
		_ = c.process.Process.Kill()
		return nil, errors.Join(err, c.process.Wait(), errors.New(c.errors.String()))
	}
	c.ca = filepath.Join(c.data, "ca.crt")
	c.site = newSite(strings.TrimSuffix(c.ready["url"], "/"), c.ca)
	c.local = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.ready["socket"])
	}}}
	return c, nil
}

// command is the test binary as coffer.
func command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), beCoffer+"=1", "NO_COLOR=1")
	// A Coffer does not outlive the tests, however they end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// waitReady reads the ready block to its last line.
func (c *coffer) waitReady(out io.Reader) error {
	lines := bufio.NewScanner(out)
	done := make(chan error, 1)
	go func() {
		for lines.Scan() {
			if name, value, ok := strings.Cut(lines.Text(), ": "); ok {
				c.ready[name] = value
			}
			if c.ready["version"] != "" {
				done <- nil
				_, _ = io.Copy(io.Discard, out)
				return
			}
		}
		done <- errors.New("it ended before it was ready")
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		return errors.New("it was not ready after 30 s")
	}
}

// stop ends it as a supervisor does, and says what it said when that went wrong.
func (c *coffer) stop() error {
	err := c.process.Process.Signal(syscall.SIGTERM)
	if err == nil {
		err = c.process.Wait()
	}
	if err != nil {
		err = fmt.Errorf("stopping Coffer: %w\n%s", err, c.errors.String())
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// freshCoffer is a Coffer of one test, with nobody in it.
func freshCoffer(t testing.TB, flags ...string) *coffer {
	t.Helper()
	c, err := startCoffer(flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Coffer said:\n%s", c.errors.String())
		}
	})
	return c
}

// cli runs a coffer command on the data directory.
func (c *coffer) cli(t testing.TB, args ...string) string {
	t.Helper()
	cmd := command(args...)
	cmd.Env = append(cmd.Env, "COFFER_DATA="+c.data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("coffer %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// curl runs the real curl, which trusts Coffer's authority.
func (c *coffer) curl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("curl", append([]string{"--silent", "--show-error", "--max-time", "20", "--cacert", c.ca}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

type object = map[string]any

// socket asks the native API over the local socket, as the operator of the
// machine or with somebody's bearer, and reads the answer into out.
func (c *coffer) socket(bearer, method, path string, body, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://coffer/api/v1"+path, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.local.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 300:
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	case out != nil:
		return json.Unmarshal(b, out)
	}
	return nil
}
