package app_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewriteTranscripts = flag.Bool("update-transcripts", false, "write what clients of Vault are answered into testdata/vault")

// transcript is what one talk with the surface for clients of Vault looked like,
// with everything left out that is another one each time.
type transcript struct {
	r     *running
	text  strings.Builder
	known map[string]string // a value that changes → its name
}

func newTranscript(r *running) *transcript { return &transcript{r: r, known: map[string]string{}} }

var (
	changingID   = regexp.MustCompile(`"(?:request_id|uuid)":"[^"]+"`)
	changingTime = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)
	changingUnix = regexp.MustCompile(`"(creation_time|last_renewal_time)":\d{10}`)
	changingName = regexp.MustCompile(`\b(?:cft|cfw|cfs|ta|wa|sa|w)_[a-z2-7]{20,}\b`)
	changingLeft = regexp.MustCompile(`"(ttl|lease_duration)":(\d+)`)
)

// clean leaves out what changes, and rounds what is left of a time up to minutes.
func (tr *transcript) clean(s string) string {
	s = changingName.ReplaceAllStringFunc(s, func(v string) string {
		if tr.known[v] == "" {
			kind, _, _ := strings.Cut(v, "_")
			tr.known[v] = fmt.Sprintf("<%s-%d>", kind, len(tr.known)+1)
		}
		return tr.known[v]
	})
	s = changingID.ReplaceAllStringFunc(s, func(v string) string { return v[:strings.Index(v, ":")] + `:"<id>"` })
	s = changingTime.ReplaceAllString(s, `"<time>"`)
	s = changingUnix.ReplaceAllString(s, `"$1":<unix>`)
	return changingLeft.ReplaceAllStringFunc(s, func(v string) string {
		var n int
		name, digits, _ := strings.Cut(v, ":")
		_, _ = fmt.Sscan(digits, &n)
		return fmt.Sprintf("%s:%d", name, (n+59)/60*60)
	})
}

// ask asks, and notes it. headers are pairs.
func (tr *transcript) ask(token, namespace, method, path string, body any, headers ...string) answer {
	tr.r.tb.Helper()
	all := map[string]string{}
	if token != "" {
		all["X-Vault-Token"] = token
	}
	if namespace != "" {
		all["X-Vault-Namespace"] = namespace
	}
	for i := 0; i < len(headers); i += 2 {
		all[headers[i]] = headers[i+1]
	}
	a := tr.r.doWith(all, "", method, "/v1/"+path, body)
	fmt.Fprintf(&tr.text, "> %s %s", method, tr.clean(path))
	if body != nil {
		b, _ := json.Marshal(body)
		fmt.Fprintf(&tr.text, " %s", tr.clean(string(b)))
	}
	if namespace != "" {
		tr.text.WriteString(" in " + namespace)
	}
	if token == "" {
		tr.text.WriteString(" (no token)")
	}
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&tr.text, " %s: %s", headers[i], headers[i+1])
	}
	fmt.Fprintf(&tr.text, "\n< %d %s\n", a.status, tr.clean(strings.TrimSpace(string(a.body))))
	return a
}

// compare compares the talk with the one that is kept.
func (tr *transcript) compare(name string) {
	tr.r.tb.Helper()
	path := filepath.Join("testdata", "vault", name+".txt")
	if *rewriteTranscripts {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tr.r.tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tr.text.String()), 0o644); err != nil {
			tr.r.tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tr.r.tb.Fatal(err)
	}
	got, kept := strings.Split(tr.text.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(kept)) {
		g, k := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(kept) {
			k = kept[i]
		}
		if g != k {
			tr.r.tb.Errorf("%s, line %d:\n got %s\nwant %s", path, i+1, g, k)
		}
	}
}

// in decodes a part of an answer.
func (a answer) in(tb testing.TB, out any) {
	tb.Helper()
	if err := json.Unmarshal(a.body, out); err != nil {
		tb.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// authBlock is the part of an answer that is a token.
type authBlock struct {
	Auth struct {
		ClientToken   string   `json:"client_token"`
		Accessor      string   `json:"accessor"`
		Policies      []string `json:"policies"`
		LeaseDuration int      `json:"lease_duration"`
		Renewable     bool     `json:"renewable"`
	} `json:"auth"`
	Warnings []string `json:"warnings"`
}
