package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"coffer/app"
)

// byName is a name of this machine, for the browser alone.
const byName = "coffer.test"

// browser is a Chromium that trusts one authority. It reads its list of them when
// it first meets a certificate, so each site has its own.
type browser struct {
	home string // whose NSS database says which authority it trusts
	ctx  context.Context
}

func TestMain(m *testing.M) {
	// Coffer starts itself as a worker, with an environment of the worker's own.
	if os.Getenv(beCoffer) != "" || (len(os.Args) == 2 && os.Args[1] == "worker") {
		os.Exit(app.Main(os.Args, app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv}))
	}
	os.Exit(run(m))
}

// run installs what is missing, since a test that cannot run proves nothing, and
// ends what the tests share.
func run(m *testing.M) int {
	if err := haveTools(); err != nil {
		fmt.Fprintln(os.Stderr, "the browser tests need chromium, certutil and curl (`make deps` installs them):", err)
		return 1
	}
	code := m.Run()
	for _, end := range slices.Backward(ends) {
		end()
	}
	return code
}

// ends ends what tests share.
var ends []func()

// atEnd has something done after the last test, the newest first.
func atEnd(f func()) { ends = append(ends, f) }

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

// startBrowser starts Chromium with an empty profile and a home of its own, where
// it finds the authority that it trusts, as when a person imports ca.crt.
func startBrowser(ca string) (*browser, error) {
	home, err := os.MkdirTemp("", "coffer-e2e-")
	if err != nil {
		return nil, err
	}
	atEnd(func() { _ = os.RemoveAll(home) })
	b := &browser{home: home}
	if err := b.certutil("-N", "--empty-password"); err != nil {
		return nil, err
	}
	if ca != "" {
		if err := b.certutil("-A", "-t", "C,,", "-n", "ca", "-i", ca); err != nil {
			return nil, err
		}
	}
	options, err := b.options()
	if err != nil {
		return nil, err
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(alloc)
	atEnd(func() { stop(); stopAlloc() })
	b.ctx = ctx
	return b, chromedp.Do(ctx)
}

// options are how Chromium is started.
func (b *browser) options() ([]chromedp.ExecAllocatorOption, error) {
	path, err := chromiumPath()
	if err != nil {
		return nil, err
	}
	options := append(
		slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(b.home, "profile")), chromedp.Env("HOME="+b.home),
		chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-pings", true), chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"),
		// Whatever asks for another host than this one does not find it.
		chromedp.Flag("host-resolver-rules", "MAP "+byName+" 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	return options, nil
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
