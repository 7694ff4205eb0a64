package app_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"coffer/app"
)

// ask sends a request of the native API that must be taken or refused with a
// status. asked names the canaries that the answer may hold.
func (w *watched) ask(status int, session, method, path string, in object, asked ...string) map[string]any {
	w.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://coffer/api/v1"+path, strings.NewReader(string(b)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if in == nil {
		req.Body, req.ContentLength = nil, 0
	}
	if session != "" {
		req.Header.Set("Authorization", "Bearer "+session)
	}
	resp, err := app.SocketClient(w.data).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		w.t.Fatal(err)
	}
	what := method + " " + path
	if resp.StatusCode != status {
		w.t.Fatalf("%s: %s, want %d: %s", what, resp.Status, status, text.String())
	}
	w.outputs = append(w.outputs, output{what, text.String(), asked})
	_, body, _ := strings.Cut(text.String(), "\r\n\r\n")
	var out map[string]any
	_ = json.Unmarshal([]byte(body), &out)
	return out
}

var setupLine = regexp.MustCompile(`(?m)^setup: .*(cfi_[a-z2-7]{52})$`)

// accounts goes through all that proves a person: links, passwords, codes,
// sessions, devices; good ones and wrong ones.
func (w *watched) accounts() {
	found := setupLine.FindStringSubmatch(w.daemon.out.String())
	if found == nil {
		w.t.Fatalf("no setup line: %s", w.daemon.out.String())
	}
	link := w.hide("setup link", found[1])
	password := w.hide("password", "canary-password-of-olga")
	name := w.hide("operator's name", "canary-operator")
	text := func(out map[string]any, member, as string) string {
		s, _ := out[member].(string)
		if s == "" {
			w.t.Fatalf("no %s: %v", member, out)
		}
		return w.hide(as, s)
	}
	w.ask(200, "", "POST", "/links/show", object{"token": link})
	w.ask(400, "", "POST", "/links/accept", object{"token": link, "name": name, "password": w.hide("short password", "canary-shor")})
	in := w.ask(200, "", "POST", "/links/accept", object{"token": link, "name": name, "password": password}, "operator's name", "session", "device")
	session, device := text(in, "session", "session"), text(in, "device", "device")
	w.ask(401, "", "POST", "/links/accept", object{"token": link, "name": name, "password": password})
	shown := w.ask(200, session, "POST", "/account/totp/begin", nil, "operator's name", "totp secret")
	secret := text(shown, "secret", "totp secret")
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	asked := []string{}
	for i := range 10 {
		asked = append(asked, "recovery code "+string(rune('0'+i)))
	}
	made := w.ask(200, session, "POST", "/account/totp", object{"code": code}, asked...)
	codes, _ := made["recovery_codes"].([]any)
	for i, c := range codes {
		s, _ := c.(string)
		w.hide(asked[i], s)
		w.hide(asked[i]+" without dashes", strings.ReplaceAll(s, "-", ""))
	}
	if len(codes) != 10 {
		w.t.Fatalf("%d recovery codes", len(codes))
	}
	for i := range asked {
		w.outputs[len(w.outputs)-1].asked = append(w.outputs[len(w.outputs)-1].asked, asked[i]+" without dashes")
	}
	recovery, _ := codes[0].(string)
	w.ask(401, "", "POST", "/sessions", object{"name": name, "password": w.hide("wrong password", "canary-wrong-password"), "code": recovery})
	w.ask(401, "", "POST", "/sessions", object{"name": name, "password": password, "code": w.hide("wrong code", "canary-wrong-code")})
	w.ask(401, "", "POST", "/sessions", object{"name": w.hide("unknown name", "canary-unknown-name"), "password": password})
	again := w.ask(200, "", "POST", "/sessions", object{"name": name, "password": password, "code": recovery, "device": device}, "operator's name", "second session")
	second := text(again, "session", "second session")
	w.ask(403, second, "POST", "/sessions/step-up", object{"code": recovery})
	w.ask(200, second, "POST", "/sessions/step-up", object{"code": codes[1]})
	w.ask(400, second, "POST", "/account/password", object{"old": "canary-wrong-password", "new": w.hide("new password", "canary-new-password-1")})
	w.ask(200, second, "POST", "/account/password", object{"old": password, "new": "canary-new-password-1"})
	w.ask(401, session, "GET", "/account", nil)
	file := w.file("session", second)
	w.coffer(0, "", []string{"operator's name", "display name"}, "account", "--token-file", file)
	w.coffer(0, "", nil, "session", "list", "--token-file", file, "-o", "json")
	w.coffer(3, "", nil, "login", "--name", name, "--password-file", w.file("password", password))
	w.issued("invitation", "invite", "-t", "acme", "--role", "viewer")
	w.trim("invitation")
	w.coffer(0, "", []string{"operator's name"}, "invite", "list", "-t", "acme") // who invited
	w.issued("further setup link", "setup-link")
	w.trim("further setup link")
	w.issued("session of the socket", "login")
	w.quoted("operator's name") // whom one is signed in as
	w.coffer(0, "", []string{"operator's name", "person's name"}, "person", "list")
	w.issued("recover link", "admin", "recover", name)
	w.quoted("operator's name")
	w.trim("recover link")
	w.ask(401, second, "GET", "/account", nil)
	w.post("POST", "/sessions", `{"name": "x", "password": ["canary-new-password-1"]}`)
	w.post("POST", "/sessions", `{"name": "x", "password": "canary-new-password-1", "code": 123456}`)
	w.post("POST", "/links/accept", `{"token": "cfi_`+w.hide("malformed link", "canarymalformedlink")+`", "name": "x", "password": "canary-new-password-1"}`)
	w.post("POST", "/sessions/passkey", `{"handle": "canarymalformedlink", "response": {"id": "canarymalformedlink"}}`)
	w.coffer(0, "", []string{"person's name"}, "member", "list", "-t", "globex")
	w.outputs[len(w.outputs)-2].asked = append(w.outputs[len(w.outputs)-2].asked, "operator's name")
}

// trim makes of a link's address that was hidden the part that opens.
func (w *watched) trim(name string) {
	i := slices.IndexFunc(w.canaries, func(c canary) bool { return c.name == name })
	if _, text, ok := strings.Cut(w.canaries[i].text, "#"); ok {
		w.canaries[i].text = text
	}
}
