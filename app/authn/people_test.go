package authn_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"coffer/app/authn"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

func secret(s string) domain.Secret { return domain.SecretString(s) }

func TestPasswords(t *testing.T) {
	p := authn.NewPasswords()
	hash, err := p.Hash(t.Context(), secret("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(hash.Reveal())
	if !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the cost is not what is recommended: %.40s", text)
	}
	if again, _ := p.Hash(t.Context(), secret("correct horse battery")); again.Equal(hash) {
		t.Error("two hashes of one password are the same: there is no salt")
	}
	for password, want := range map[string]bool{"correct horse battery": true, "correct horse batterz": false, "": false} {
		if got, err := p.Verify(t.Context(), hash, secret(password), false); got != want || err != nil {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	if ok, err := p.Verify(t.Context(), domain.Secret{}, domain.Secret{}, false); ok || err != nil {
		t.Errorf("nothing opens with nothing: %v, %v", ok, err)
	}
	for _, bad := range []string{
		"x", text + "!", text[:len(text)-1] + "=", strings.Replace(text, "argon2id", "argon2i", 1), strings.Replace(text, "v=19", "v=16", 1),
		strings.Replace(text, "m=19456", "m=99999999", 1), strings.Replace(text, "t=2", "t=0", 1), strings.Replace(text, "p=1", "p=0", 1),
		strings.Replace(text, "t=2", "t=02", 1), strings.Replace(text, "m=19456", "m=1", 1), "$argon2id$v=19$m=19456,t=2,p=1$$",
	} {
		if ok, err := p.Verify(t.Context(), secret(bad), secret("correct horse battery"), false); ok || domain.KindOf(err) != domain.Tampered {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for p, ok := range map[string]bool{
		"correct horse": true, "пароль из слов": true, strings.Repeat("abcde ", 100): true,
		"": false, "elevenchars": false, strings.Repeat("a", 40): false, "abababababab": false, "\xff\xfe012345678901": false, strings.Repeat("abcde", 300): false,
	} {
		if err := authn.CheckPassword("password", secret(p)); (err == nil) != ok {
			t.Errorf("%.20q: %v", p, err)
		} else if err != nil && domain.KindOf(err) != domain.Invalid {
			t.Errorf("%.20q: %v", p, err)
		}
	}
}

// TestStrangersLeaveATurn: however many strangers wait, somebody known gets in,
// and the strangers that are too many hear so at once.
func TestStrangersLeaveATurn(t *testing.T) {
	p := authn.NewPasswords()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var tooMany atomic.Int32
	for range 200 {
		wg.Go(func() {
			if _, err := p.Verify(ctx, domain.Secret{}, secret("x"), false); domain.KindOf(err) == domain.Limit {
				tooMany.Add(1)
			}
		})
	}
	for tooMany.Load() == 0 { // the queue of strangers is full
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if _, err := p.Verify(t.Context(), domain.Secret{}, secret("x"), true); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second { // the strangers alone take longer
		t.Errorf("somebody known waited %v", took)
	}
	cancel()
	wg.Wait()
}

// TestSameWork: an unknown name costs one derivation, like a known one. The work
// is told by the memory that it fills, which is most of what it costs.
func TestSameWork(t *testing.T) {
	p := authn.NewPasswords()
	hash, err := p.Hash(t.Context(), secret("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	filled := func(kept domain.Secret) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = p.Verify(t.Context(), kept, secret("wrong"), false)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	known, unknown := filled(hash), filled(domain.Secret{})
	if most := max(known, unknown); most < 1<<20 || min(known, unknown) < most/10*9 {
		t.Errorf("known %d bytes, unknown %d", known, unknown)
	}
}

func withTOTP(t *testing.T) (directory.Account, string) {
	t.Helper()
	s := authn.NewTOTP()
	return directory.Account{Person: "p_1", TOTP: &directory.TOTP{Secret: directory.Seal(s)}}, string(authn.TOTPText(s).Reveal())
}

// TestTOTP: the code of this step and its neighbours, each once, and none before
// one that was used.
func TestTOTP(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	a, text := withTOTP(t)
	now := time.Date(2026, 11, 18, 9, 0, 10, 0, time.UTC)
	at := func(d time.Duration) domain.Secret {
		code, err := totp.GenerateCode(text, now.Add(d))
		if err != nil {
			t.Fatal(err)
		}
		return secret(code)
	}
	for d, want := range map[time.Duration]bool{
		0: true, -30 * time.Second: true, 30 * time.Second: true, -60 * time.Second: false, 60 * time.Second: false, time.Hour: false,
	} {
		if _, ok := authn.CheckCode(a, at(d), now); ok != want {
			t.Errorf("a code of %v: %v", d, ok)
		}
	}
	update := func(fn func(*store.Tx) error) error {
		_, err := db.Update(t.Context(), fn)
		return err
	}
	if err := update(func(tx *store.Tx) error { return directory.PutAccount(tx, a) }); err != nil {
		t.Fatal(err)
	}
	first, ok := authn.CheckCode(a, at(0), now)
	same, _ := authn.CheckCode(a, at(0), now) // looked at before the first was spent
	before, _ := authn.CheckCode(a, at(-30*time.Second), now)
	if !ok || update(first.Spend) != nil {
		t.Error("the first use is refused")
	}
	for name, again := range map[string]authn.Spent{"the same code": same, "the code before": before} {
		if err := update(again.Spend); !errors.Is(err, authn.ErrCode) {
			t.Errorf("%s is spent again: %v", name, err)
		}
	}
	_ = db.View(t.Context(), func(tx *store.Tx) error {
		a, _ := directory.FindAccount(tx, "p_1")
		if _, ok := authn.CheckCode(a, at(0), now); ok {
			t.Error("a used code is right")
		}
		if _, ok := authn.CheckCode(a, at(30*time.Second), now); !ok {
			t.Error("the next code is not")
		}
		return nil
	})
	for _, code := range []string{"", "0", "00000a", strings.Repeat("0", 5000), " "} {
		if _, ok := authn.CheckCode(a, secret(code), now); ok {
			t.Errorf("%.10q is a code", code)
		}
	}
	none := directory.Account{Person: "p_2"}
	if _, ok := authn.CheckCode(none, at(0), now); ok {
		t.Error("somebody without an app has a code")
	}
}

// TestRecoveryCodes: each works once, however it is typed.
func TestRecoveryCodes(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	codes, hashes := authn.NewRecoveryCodes()
	if len(codes) != authn.RecoveryCodes || codes[0].Equal(codes[1]) {
		t.Fatalf("%d codes", len(codes))
	}
	a := directory.Account{Person: "p_1", Recovery: hashes}
	update := func(fn func(*store.Tx) error) error {
		_, err := db.Update(t.Context(), fn)
		return err
	}
	if err := update(func(tx *store.Tx) error { return directory.PutAccount(tx, a) }); err != nil {
		t.Fatal(err)
	}
	text := string(codes[3].Reveal())
	for _, typed := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, "-", ""), " " + strings.ReplaceAll(text, "-", " ") + " "} {
		if _, ok := authn.CheckCode(a, secret(typed), time.Now()); !ok {
			t.Errorf("%q is not taken", typed)
		}
	}
	for _, typed := range []string{text[1:], text + "a", "", "-", strings.Repeat("-", 4096) + text} {
		if _, ok := authn.CheckCode(a, secret(typed), time.Now()); ok {
			t.Errorf("%.60q is taken", typed)
		}
	}
	one, _ := authn.CheckCode(a, codes[3], time.Now())
	other, _ := authn.CheckCode(a, codes[4], time.Now())
	if update(one.Spend) != nil || update(other.Spend) != nil || !errors.Is(update(one.Spend), authn.ErrCode) {
		t.Error("the codes do not work exactly once")
	}
}

// TestGuesses: strangers share a budget for a name, whoever they are and whether
// there is such a name; a known device has its own; time gives back.
func TestGuesses(t *testing.T) {
	g := authn.NewGuesses()
	now := time.Unix(1_800_000_000, 0)
	tries := func(most int, try func(i int) error) (n int) {
		for n = range most {
			if err := try(n); err != nil {
				if domain.KindOf(err) != domain.Limit || !strings.Contains(domain.HintOf(err), "try again in") {
					t.Errorf("%v: %s", err, domain.HintOf(err))
				}
				return n
			}
		}
		return most
	}
	stranger := func(source, name string) error {
		_, err := g.Stranger(source, name, now)
		return err
	}
	byName := tries(100, func(i int) error { return stranger(fmt.Sprintf("192.0.2.%d:99", i), "anna") })
	if byName < 5 || byName > 20 {
		t.Errorf("%d strangers could try", byName)
	}
	if _, err := g.Device("p_anna", secret("cfd_x"), now); err != nil {
		t.Errorf("strangers lock the known device out: %v", err)
	}
	if err := stranger("198.51.100.7:1", "ben"); err != nil {
		t.Errorf("strangers lock another name out: %v", err)
	}
	fromOne := tries(1000, func(i int) error { return stranger("203.0.113.5:"+fmt.Sprint(i), fmt.Sprintf("name%d", i)) })
	if fromOne < 10 || fromOne > 60 {
		t.Errorf("%d tries from one address", fromOne)
	}
	fromNet := tries(1000, func(i int) error { return stranger(fmt.Sprintf("[2001:db8::%x]:7", i), fmt.Sprintf("other%d", i)) })
	if fromNet > 60 {
		t.Errorf("%d tries from one IPv6 network", fromNet)
	}
	byDevice := tries(100, func(int) error { _, err := g.Device("p_ben", secret("cfd_y"), now); return err })
	if byDevice < 5 || byDevice > 20 {
		t.Errorf("%d tries from one device", byDevice)
	}
	now = now.Add(time.Hour)
	if again := tries(100, func(i int) error { return stranger(fmt.Sprintf("192.0.3.%d:99", i), "anna") }); again != byName {
		t.Errorf("%d an hour later, want %d", again, byName)
	}
	now = now.Add(time.Hour)
	for range 1000 { // right ones cost nothing
		a, err := g.Stranger("192.0.2.1:1", "anna", now)
		if err != nil {
			t.Fatal(err)
		}
		a.Right()
	}
	now = now.Add(-time.Hour) // a clock never gives more
	if n := tries(100, func(int) error { return stranger("192.0.2.1:1", "anna") }); n > byName {
		t.Errorf("%d after the clock went back", n)
	}
}

// TestWaiting: what waits is bounded in number and time, and taken once.
func TestWaiting(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	w := authn.NewWaiting[int](3, time.Minute, func() time.Time { return now })
	for i := range 5 {
		now = now.Add(time.Second)
		w.Put(fmt.Sprint(i), i)
	}
	for i, want := range []bool{false, false, true, true, true} {
		if _, ok := w.Look(fmt.Sprint(i)); ok != want {
			t.Errorf("%d: %v", i, ok)
		}
	}
	if v, ok := w.Take("4"); !ok || v != 4 {
		t.Error("not taken")
	}
	if _, ok := w.Take("4"); ok {
		t.Error("taken twice")
	}
	now = now.Add(2 * time.Minute)
	if _, ok := w.Take("3"); ok {
		t.Error("taken too late")
	}
	var won atomic.Int32
	w.Put("x", 1)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, ok := w.Take("x"); ok {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("taken %d times at once", won.Load())
	}
}

// TestPasskeysWhereTheyWork: under a name and https, or at home.
func TestPasskeysWhereTheyWork(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://coffer.example.org": true, "https://coffer.example.org:8443": true, "https://localhost:8443": true, "http://localhost:8080": true,
		"": false, "https://192.0.2.1:8443": false, "https://[2001:db8::1]": false, "https://coffer:8443": false, "http://coffer.example.org": false,
		"https://": false, "://": false, "https://127.0.0.1": false,
	} {
		err := authn.NewPasskeys(origin, time.Now).Available()
		if (err == nil) != ok {
			t.Errorf("%s: %v", origin, err)
		}
		if err != nil && (domain.HintOf(err) == "" || domain.KindOf(err) != domain.Conflict) {
			t.Errorf("%s: no clear refusal: %v", origin, err)
		}
	}
}

func FuzzPasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if h, ok := authn.RecodeHash(s); ok && h != s {
			t.Fatalf("%q was accepted, is written as %q", s, h)
		}
	})
}
