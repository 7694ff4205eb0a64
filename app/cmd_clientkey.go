package app

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/vault/seal"
)

func newClientKeyCommand(std Stdio) *cli.Command {
	return group("client-key", "close a tenant under a key that only the client has",
		newClientKeySetCommand(std), newClientKeyOpenCommand(std),
		clientKeyCommand(std, "close", "close the tenant at once: data and secrets for nobody", http.MethodPost, "close"),
		clientKeyCommand(std, "status", "show whether there is a client-held key, and whether it is open", http.MethodGet, ""),
		newClientKeyRemoveCommand(std))
}

// clientKeyFlags are where a key comes from, and for how long it opens.
func clientKeyFlags(more ...cli.Flag) []cli.Flag {
	return tenantFlags(append(more, passphraseFlag(),
		&cli.StringFlag{Name: "key-file", Usage: "`FILE` whose bytes are the key, 32 random ones or more"},
		&cli.DurationFlag{Name: "for", Usage: "how long it opens, at most 24h", DefaultText: "8h"},
		&cli.DurationFlag{Name: "idle", Usage: "close too when it was not used for so long"})...)
}

// clientKeyBody is the wire form of what presents a key.
type clientKeyBody struct {
	Form    string `json:"form"`
	Key     string `json:"key"`
	Confirm string `json:"confirm,omitempty"`
	Words   string `json:"words,omitempty"`
	For     string `json:"for,omitempty"`
	Idle    string `json:"idle,omitempty"`
}

// clientKeyInput reads the key: a file, or a passphrase from a file or typed.
func clientKeyInput(r *run, isNew bool) (in clientKeyBody, err error) {
	for name, to := range map[string]*string{"for": &in.For, "idle": &in.Idle} {
		if r.IsSet(name) {
			*to = r.Duration(name).String()
		}
	}
	file := r.String("key-file")
	if fresh := r.String("new-key-file"); fresh != "" {
		if file != "" {
			return in, domain.Fieldf("key-file", "give one of --key-file and --new-key-file")
		}
		if err := seal.CreateKeyfile(fresh); err != nil {
			return in, domain.Errorf(domain.Invalid, "%w", err).WithHint("name a file that is not there yet")
		}
		r.say("made %s with 32 random bytes: copy it to a second place now", fresh)
		file = fresh
	}
	if file != "" {
		b, err := durable.ReadFile(file, seal.MaxKeyfile)
		if err != nil {
			return in, domain.Errorf(domain.Invalid, "reading the key file: %w", err)
		}
		in.Form, in.Key = string(seal.ClientKeyfile), base64.StdEncoding.EncodeToString(b)
		return in, nil
	}
	p, err := askPassphrase(r.Context, r.std, isNew)
	in.Form, in.Key = string(seal.ClientPassphrase), string(p.Reveal())
	return in, err
}

func newClientKeySetCommand(std Stdio) *cli.Command {
	flags := clientKeyFlags(
		&cli.StringFlag{Name: "new-key-file", Usage: "`FILE` to make with 32 random bytes, which are the key"},
		&cli.StringFlag{Name: "confirm", Usage: "the `TENANT`'s id again: nobody can replace the key"},
		&cli.StringFlag{Name: "words", Usage: "the `SENTENCE` that says what it means; asked for at a terminal"})
	return clientCommand(std, &cli.Command{
		Name: "set", Usage: "close a tenant under a key that Coffer does not keep; what is lost with it is lost", ArgsUsage: "[TENANT]", Flags: flags,
	}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		path, err := r.tenantPath("client-key")
		if err != nil {
			return err
		}
		// What it means is said and typed before anything is made or asked.
		words, err := clientKeyWords(r)
		if err != nil {
			return err
		}
		tenant, err := r.tenant()
		if err != nil {
			return err
		}
		if r.String("confirm") != tenant {
			return domain.Fieldf("confirm", "type the tenant's id to close it under a key that nobody can replace").
				WithHint("coffer client-key set -t %s --confirm %s", tenant, tenant)
		}
		in, err := clientKeyInput(r, true)
		if err != nil {
			return err
		}
		in.Confirm, in.Words = tenant, words
		return ask(r, http.MethodPut, path, nil, in, func(w io.Writer, out actions.ClientKeyOut) { printClientKey(w, out) })
	})
}

// clientKeyWords says what is lost with the key, and has it typed.
func clientKeyWords(r *run) (string, error) {
	words := r.String("words")
	if f, ok := r.std.In.(*os.File); words == "" && ok && term.IsTerminal(int(f.Fd())) {
		r.say("%s", actions.ClientKeyWarning)
		fmt.Fprintf(r.std.Err, "Type: %s\n> ", actions.ClientKeyWords)
		line, err := bufio.NewReader(r.std.In).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		words = strings.TrimSpace(line)
	}
	if words != actions.ClientKeyWords {
		return "", domain.Fieldf("words", "type what it means: --words %q", actions.ClientKeyWords).WithHint("%s", actions.ClientKeyWarning)
	}
	return words, nil
}

func newClientKeyOpenCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "open", Usage: "open a tenant for a while with the client's key", ArgsUsage: "[TENANT]", Flags: clientKeyFlags(),
	}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		path, err := r.tenantPath("client-key", "open")
		if err != nil {
			return err
		}
		in, err := clientKeyInput(r, false)
		if err != nil {
			return err
		}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.ClientKeyOut) { printClientKey(w, out) })
	})
}

func clientKeyCommand(std Stdio, name, usage, method, verb string) *cli.Command {
	return clientCommand(std, &cli.Command{Name: name, Usage: usage, ArgsUsage: "[TENANT]", Flags: tenantFlags()}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		parts := []string{"client-key"}
		if verb != "" {
			parts = append(parts, verb)
		}
		path, err := r.tenantPath(parts...)
		if err != nil {
			return err
		}
		return ask(r, method, path, nil, nil, func(w io.Writer, out actions.ClientKeyOut) { printClientKey(w, out) })
	})
}

func newClientKeyRemoveCommand(std Stdio) *cli.Command {
	confirm := &cli.StringFlag{Name: "confirm", Usage: "the `TENANT`'s id again: Coffer alone opens it from then on"}
	return clientCommand(std, &cli.Command{
		Name: "remove", Usage: "take the client-held key off a tenant that is open", ArgsUsage: "[TENANT]", Flags: tenantFlags(confirm),
	}, 0, 1, func(r *run) error {
		if err := tenantArgument(r); err != nil {
			return err
		}
		path, err := r.tenantPath("client-key")
		if err != nil {
			return err
		}
		return ask(r, http.MethodDelete, path, queryOf("confirm", r.String("confirm")), nil, func(w io.Writer, out actions.ClientKeyOut) { printClientKey(w, out) })
	})
}

func printClientKey(w io.Writer, k actions.ClientKeyOut) {
	fmt.Fprintf(w, "tenant:     %s\nclient key: %s\n", k.Tenant, k.State)
	if k.Set != nil {
		fmt.Fprintf(w, "form:       %s, set %s by %s\n", k.Form, timeText(*k.Set), k.By)
	}
	if k.Until != nil {
		fmt.Fprintf(w, "open until: %s\n", timeText(*k.Until))
	}
	if k.Idle != nil {
		fmt.Fprintf(w, "idle:       closes when it was not used for %v\n", time.Duration(*k.Idle))
	}
	if k.Words != "" {
		fmt.Fprintln(w, "note:       "+k.Words)
	}
}
