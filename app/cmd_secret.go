package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/vault"
)

func newSecretCommand(std Stdio) *cli.Command {
	return group("secret", "store, read and manage a tenant's secrets",
		newSecretPutCommand(std), newSecretGetCommand(std), newSecretListCommand(std), newSecretVersionsCommand(std),
		secretVersionCommand(std, "delete", "delete a version so that it can be brought back", http.MethodDelete, ""),
		secretVersionCommand(std, "undelete", "bring a deleted version back", http.MethodPost, "undelete"),
		secretVersionCommand(std, "destroy", "destroy a version for good", http.MethodPost, "destroy"),
	)
}

func versionFlag() cli.Flag {
	return &cli.IntFlag{Name: "version", Usage: "`N`th version; the current one if not given"}
}

func newSecretPutCommand(std Stdio) *cli.Command {
	cas := &cli.IntFlag{Name: "cas", Usage: "only if version `N` is current; 0: only if there is none"}
	return clientCommand(std, &cli.Command{
		Name: "put", Usage: "write a new version", ArgsUsage: "PATH KEY=VALUE…",
		Description: "A value comes from stdin as KEY=-, from a file as KEY=@FILE. Values on the command line stand in the shell's history.",
		Flags:       tenantFlags(cas),
	}, 2, 1+domain.MaxSecretKeys, func(r *run) error {
		path, err := r.tenantPath("secret")
		if err != nil {
			return err
		}
		data, err := readPairs(r.Args().Tail(), r.std.In)
		if err != nil {
			return err
		}
		in := struct {
			CAS  *int            `json:"cas,omitempty"`
			Data json.RawMessage `json:"data"`
		}{Data: data.Reveal()}
		if r.IsSet("cas") {
			n := r.Int("cas")
			in.CAS = &n
		}
		return ask(r, http.MethodPut, path, queryOf("path", r.Args().First()), in, func(w io.Writer, out actions.SecretVersion) {
			fmt.Fprintf(w, "stored version %d of %s\n", out.Number, clean(out.Path))
		})
	})
}

// readPairs makes the JSON object of KEY=VALUE, KEY=- and KEY=@FILE.
func readPairs(pairs []string, stdin io.Reader) (domain.Secret, error) {
	values := map[string]string{}
	fromStdin := false
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return domain.Secret{}, domain.Fieldf("data", "an argument is not KEY=VALUE").
				WithHint("write key=value, key=- for stdin, or key=@FILE")
		}
		if _, twice := values[key]; twice {
			return domain.Secret{}, domain.Fieldf("data", "the name %.40q stands twice", key)
		}
		b, err := []byte(value), error(nil)
		switch {
		case value == "-" && fromStdin:
			err = domain.Fieldf("data", "only one value can come from stdin")
		case value == "-":
			fromStdin = true
			b, err = readLimited(stdin)
			b = trimLineEnd(b)
		case strings.HasPrefix(value, "@"):
			b, err = readValueFile(value[1:])
		}
		if err != nil {
			return domain.Secret{}, err
		}
		if !utf8.ValidString(key) || !utf8.Valid(b) {
			// JSON would replace what is not UTF-8 without a word.
			return domain.Secret{}, domain.Fieldf("data", "the name or value of %.40q is not valid UTF-8", key).
				WithHint("encode binary values first: base64 FILE | coffer secret put … %s=-", strings.ToValidUTF8(key, "?"))
		}
		values[key] = string(b)
	}
	object, err := json.Marshal(values)
	if err == nil && len(object) > domain.MaxSecretValue {
		return domain.Secret{}, domain.Fieldf("data", "%d bytes of JSON are more than the %d that a secret may have", len(object), domain.MaxSecretValue).
			WithHint("keep files in the tenant's database, and their keys here")
	}
	return domain.NewSecret(object), err
}

func readValueFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, domain.Fieldf("data", "%v", err)
	}
	defer func() { _ = f.Close() }()
	return readLimited(f)
}

func readLimited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, domain.MaxSecretValue+1))
	if err != nil {
		return nil, domain.Fieldf("data", "%v", err)
	}
	if len(b) > domain.MaxSecretValue {
		return nil, domain.Fieldf("data", "the value is larger than the %d bytes that a secret may have", domain.MaxSecretValue)
	}
	return b, nil
}

func newSecretGetCommand(std Stdio) *cli.Command {
	field := &cli.StringFlag{Name: "field", Usage: "only the value of `KEY`, bare"}
	return clientCommand(std, &cli.Command{
		Name: "get", Usage: "read a secret", ArgsUsage: "PATH", Flags: tenantFlags(field, versionFlag()),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("secret")
		if err != nil {
			return err
		}
		var out actions.SecretValue
		q := queryOf("path", r.Args().First(), "version", positive(r.Int("version")))
		if err := r.client.call(r.Context.Context, http.MethodGet, path, q, nil, &out); err != nil {
			return err
		}
		return printSecret(r, out)
	})
}

// printSecret prints the value: one field bare, or every key=value, or JSON.
func printSecret(r *run, out actions.SecretValue) error {
	if !r.IsSet("field") && r.json() {
		return r.show(out, nil)
	}
	keys, values, err := fields(out.Data.Reveal())
	if err != nil {
		return err
	}
	if !r.IsSet("field") {
		for _, k := range keys {
			fmt.Fprintf(r.std.Out, "%s=%s\n", clean(k), values[k])
		}
		return nil
	}
	value, ok := values[r.String("field")]
	if !ok {
		return domain.Errorf(domain.NotFound, "the secret has no field %.40q", r.String("field")).
			WithHint("it has: %s", strings.Join(keys, " "))
	}
	fmt.Fprintln(r.std.Out, value)
	return nil
}

// fields takes a JSON object apart, in its order. Texts lose their quotes.
func fields(object []byte) (keys []string, values map[string]string, err error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	values = map[string]string{}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, nil, err
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		key := fmt.Sprint(k)
		keys, values[key] = append(keys, key), text
	}
	return keys, values, nil
}

func newSecretListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "list", Usage: "list paths and ages, no values", ArgsUsage: "[PREFIX]", Flags: tenantFlags(),
	}, 0, 1, func(r *run) error {
		path, err := r.tenantPath("secrets")
		if err != nil {
			return err
		}
		all := actions.SecretListOut{Secrets: []actions.SecretItem{}}
		for after := ""; ; {
			var page actions.SecretListOut
			q := queryOf("prefix", r.Args().First(), "after", after, "limit", fmt.Sprint(actions.MaxPage))
			if err := r.client.call(r.Context.Context, http.MethodGet, path, q, nil, &page); err != nil {
				return err
			}
			all.Secrets = append(all.Secrets, page.Secrets...)
			if after = page.Next; after == "" {
				break
			}
		}
		return r.show(all, func(w io.Writer) {
			var rows [][]string
			for _, s := range all.Secrets {
				state := ""
				if s.Deleted {
					state = "deleted"
				}
				rows = append(rows, []string{s.Path, fmt.Sprint(s.Current), timeText(s.Updated), dashIfEmpty(state)})
			}
			table(w, []string{"PATH", "VERSION", "UPDATED", "STATE"}, rows)
		})
	})
}

func newSecretVersionsCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "versions", Usage: "list a secret's versions, no values", ArgsUsage: "PATH", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		path, err := r.tenantPath("secret", "versions")
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, queryOf("path", r.Args().First()), nil, func(w io.Writer, out vault.Secret) {
			var rows [][]string
			for _, v := range out.Versions {
				rows = append(rows, []string{fmt.Sprint(v.Number), timeText(v.Created), v.By, versionState(v)})
			}
			table(w, []string{"VERSION", "CREATED", "BY", "STATE"}, rows)
		})
	})
}

func versionState(v vault.Version) string {
	switch {
	case v.Destroyed != nil:
		return "destroyed " + timeText(*v.Destroyed)
	case v.Deleted != nil:
		return "deleted " + timeText(*v.Deleted)
	}
	return "live"
}

func secretVersionCommand(std Stdio, name, usage, method, verb string) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "PATH", Flags: tenantFlags(versionFlag()),
	}, 1, 1, func(r *run) error {
		parts := []string{"secret"}
		if verb != "" {
			parts = append(parts, verb)
		}
		path, err := r.tenantPath(parts...)
		if err != nil {
			return err
		}
		var out actions.SecretVersion
		q := queryOf("path", r.Args().First(), "version", positive(r.Int("version")))
		if err := r.client.call(r.Context.Context, method, path, q, nil, &out); err != nil {
			return err
		}
		return r.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "version %d of %s: %s\n", out.Number, clean(out.Path), versionState(out.Version))
		})
	})
}
