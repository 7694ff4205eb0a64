package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of a test run.
type browser struct {
	home string // whose NSS database says which authorities it trusts
	ctx  context.Context
	stop func()

	mu      sync.Mutex
	trusted int
}

// shared is started when the first test asks for it.
var shared = sync.OnceValues(startBrowser)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run installs what is missing, since a test that cannot run proves nothing, and
// ends what the tests share.
func run(m *testing.M) int {
	if err := haveTools(); err != nil {
		fmt.Fprintln(os.Stderr, "the browser tests need chromium, certutil and curl (`make deps` installs them):", err)
		return 1
	}
	code := m.Run()
	for _, stop := range atEnd {
		stop()
	}
	return code
}

// atEnd is what ends the things that tests share, last first.
var atEnd []func()

// haveTools installs the tools when one is missing.
func haveTools() error {
	if toolsMissing() == nil {
		return nil
	}
	deps := exec.Command(filepath.Join("..", "..", "packaging", "deps.sh"))
	deps.Stdout, deps.Stderr = os.Stderr, os.Stderr
	return errors.Join(deps.Run(), toolsMissing())
}

func toolsMissing() error {
	_, errBrowser := chromiumPath()
	_, errNSS := exec.LookPath("certutil")
	_, errCurl := exec.LookPath("curl")
	return errors.Join(errBrowser, errNSS, errCurl)
}

func chromiumPath() (string, error) {
	if p, err := exec.LookPath("chromium"); err == nil {
		return p, nil
	}
	return exec.LookPath("chromium-browser")
}

// startBrowser starts Chromium with an empty profile and a home of its own.
func startBrowser() (*browser, error) {
	home, err := os.MkdirTemp("", "coffer-e2e-")
	if err != nil {
		return nil, err
	}
	b := &browser{home: home}
	if err := b.certutil("-N", "--empty-password"); err != nil {
		return nil, err
	}
	path, err := chromiumPath()
	if err != nil {
		return nil, err
	}
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(
		options,
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(home, "profile")), chromedp.Env("HOME="+home),
		chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-pings", true), chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"),
		// Whatever asks for another host than this one does not find it.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(alloc)
	b.ctx = ctx
	b.stop = func() { stopBrowser(); stopAlloc(); _ = os.RemoveAll(home) }
	atEnd = append(atEnd, b.stop)
	return b, chromedp.Do(ctx)
}

// certutil runs NSS's tool on the database of the browser's home.
func (b *browser) certutil(args ...string) error {
	dir := filepath.Join(b.home, ".pki", "nssdb")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	out, err := exec.Command("certutil", append([]string{"-d", "sql:" + dir}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("certutil: %w: %s", err, out)
	}
	return nil
}

// trust makes the browser trust an authority, as a person does who imports ca.crt.
func (b *browser) trust(ca string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trusted++
	return b.certutil("-A", "-t", "C,,", "-n", fmt.Sprintf("coffer-test-%d", b.trusted), "-i", ca)
}

// chromium is the browser of the run.
func chromium(t testing.TB) *browser {
	t.Helper()
	b, err := shared()
	if err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return b
}
