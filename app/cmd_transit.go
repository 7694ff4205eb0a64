package app

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/vault"
)

func newTransitCommand(std Stdio) *cli.Command {
	return group("transit", "encrypt and sign with keys that never leave Coffer",
		newTransitCreateCommand(std), newTransitListCommand(std),
		transitKeyCommand(std, "show", "show a key's versions and settings", http.MethodGet, ""),
		transitKeyCommand(std, "rotate", "add a version to a key", http.MethodPost, "rotate"),
		newTransitConfigCommand(std), newTransitTrimCommand(std),
		transitKeyCommand(std, "remove", "destroy a key, if it may be; what it encrypted is lost", http.MethodDelete, ""),
		newTransitEncryptCommand(std), newTransitDecryptCommand(std), newTransitRewrapCommand(std),
		newTransitSignCommand(std), newTransitHMACCommand(std), newTransitVerifyCommand(std),
	)
}

// transitPath is the path of the key that the first argument names.
func (r *run) transitPath(rest ...string) (string, error) {
	name, err := vault.ParseTransitName(r.Args().First())
	if err != nil {
		return "", err
	}
	return r.tenantPath(append([]string{"transit", name}, rest...)...)
}

func newTransitCreateCommand(std Stdio) *cli.Command {
	kind := &cli.StringFlag{Name: "type", Usage: strings.Join(vault.TransitTypes(), ", "), Value: string(vault.AES256GCM)}
	return clientCommand(std, &cli.Command{
		Name: "create", Usage: "make a key, if there is none of the name", ArgsUsage: "NAME", Flags: tenantFlags(kind),
	}, 1, 1, func(r *run) error {
		path, err := r.transitPath()
		if err != nil {
			return err
		}
		in := map[string]string{"type": r.String("type")}
		return ask(r, http.MethodPost, path, nil, in, func(w io.Writer, out actions.TransitMade) {
			if out.Made {
				fmt.Fprintf(w, "made %s of type %s\n", clean(out.Name), out.Type)
			} else {
				fmt.Fprintf(w, "%s is there already, of type %s\n", clean(out.Name), out.Type)
			}
		})
	})
}

func newTransitListCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "list", Usage: "list the keys", Flags: tenantFlags(),
	}, 0, 0, func(r *run) error {
		path, err := r.tenantPath("transit")
		if err != nil {
			return err
		}
		return ask(r, http.MethodGet, path, nil, nil, func(w io.Writer, out actions.TransitListOut) {
			var rows [][]string
			for _, k := range out.Keys {
				last := k.Created
				if n := len(k.Versions); n > 0 {
					last = k.Versions[n-1].Created
				}
				rows = append(rows, []string{k.Name, string(k.Type), fmt.Sprint(k.Latest), timeText(last)})
			}
			table(w, []string{"NAME", "TYPE", "VERSION", "ROTATED"}, rows)
		})
	})
}

// transitKeyCommand does one thing with a key and shows what is known of it then.
func transitKeyCommand(std Stdio, name, usage, method, verb string) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NAME", Flags: tenantFlags(),
	}, 1, 1, func(r *run) error {
		var rest []string
		if verb != "" {
			rest = append(rest, verb)
		}
		path, err := r.transitPath(rest...)
		if err != nil {
			return err
		}
		return ask(r, method, path, nil, nil, printTransitKey)
	})
}

func printTransitKey(w io.Writer, k vault.TransitKey) {
	fmt.Fprintf(w, "%s, %s: version %d; decrypts from %d, encrypts from %d", clean(k.Name), k.Type, k.Latest, k.MinDecryption, max(k.MinEncryption, k.MinAvailable))
	if k.Deletable {
		fmt.Fprint(w, "; may be removed")
	}
	fmt.Fprintln(w)
	for _, v := range k.Versions {
		fmt.Fprintf(w, "version %d of %s\n", v.Number, timeText(v.Created))
		if v.Public != "" {
			fmt.Fprintln(w, strings.TrimSpace(v.Public))
		}
	}
}

func newTransitConfigCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "config", Usage: "change which versions of a key are used", ArgsUsage: "NAME", Flags: tenantFlags(
			&cli.IntFlag{Name: "min-decryption", Usage: "versions below `N` do not decrypt or verify any more"},
			&cli.IntFlag{Name: "min-encryption", Usage: "versions below `N` do not encrypt or sign; 0: no such bound"},
			&cli.BoolFlag{Name: "deletable", Usage: "whether the key may be removed (--deletable=false)"},
		),
	}, 1, 1, func(r *run) error {
		path, err := r.transitPath()
		if err != nil {
			return err
		}
		in := map[string]any{}
		for flag, field := range map[string]string{"min-decryption": "min_decryption_version", "min-encryption": "min_encryption_version"} {
			if r.IsSet(flag) {
				in[field] = r.Int(flag)
			}
		}
		if r.IsSet("deletable") {
			in["deletion_allowed"] = r.Bool("deletable")
		}
		return ask(r, http.MethodPatch, path, nil, in, printTransitKey)
	})
}

func newTransitTrimCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "trim", Usage: "destroy the versions below a number; what only they decrypt is lost", ArgsUsage: "NAME VERSION", Flags: tenantFlags(),
	}, 2, 2, func(r *run) error {
		path, err := r.transitPath("trim")
		if err != nil {
			return err
		}
		var minimum int
		if _, err := fmt.Sscan(r.Args().Get(1), &minimum); err != nil {
			return domain.Fieldf("min_available_version", "%.20q is not a version", r.Args().Get(1))
		}
		return ask(r, http.MethodPost, path, nil, map[string]int{"min_available_version": minimum}, printTransitKey)
	})
}

// input reads an argument: the text itself, - for stdin, @FILE for a file's content.
// Without one it is stdin. It goes out in base64.
func (r *run) input(n int) (string, error) {
	text, err := r.Args().Get(n), error(nil)
	b := []byte(text)
	switch {
	case r.NArg() <= n || text == "-":
		b, err = readLimited(r.std.In)
	case strings.HasPrefix(text, "@"):
		b, err = readValueFile(text[1:])
	}
	return base64.StdEncoding.EncodeToString(b), err
}

// text is input for what is a text already.
func (r *run) text(n int) (string, error) {
	b, err := r.input(n)
	if err != nil {
		return "", err
	}
	raw, err := base64.StdEncoding.DecodeString(b)
	return strings.TrimSpace(string(raw)), err
}

func keyVersionFlag() cli.Flag {
	return &cli.IntFlag{Name: "version", Usage: "with version `N` of the key; the latest if not given"}
}

func associatedFlag() cli.Flag {
	return &cli.StringFlag{Name: "associated", Usage: "`TEXT` that is bound to the ciphertext, and has to be given again to decrypt"}
}

func (r *run) associated() string {
	return base64.StdEncoding.EncodeToString([]byte(r.String("associated")))
}

// oneText asks for one item and prints the text that came of it.
func (r *run) oneText(verb string, in map[string]any) error {
	path, err := r.transitPath(verb)
	if err != nil {
		return err
	}
	var out actions.TransitTexts
	if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
		return err
	}
	if len(out.Results) != 1 {
		return errNotOne
	}
	result := out.Results[0]
	if result.Error != "" {
		return domain.Errorf(domain.Invalid, "%s", result.Error)
	}
	return r.show(result, func(w io.Writer) { fmt.Fprintln(w, result.Text) })
}

// errNotOne is for an answer that does not fit the one item that was sent.
var errNotOne = domain.Errorf(domain.Internal, "the answer has not one result for one item")

func newTransitEncryptCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "encrypt", Usage: "encrypt a text, stdin or @FILE", ArgsUsage: "NAME [TEXT]", Flags: tenantFlags(associatedFlag(), keyVersionFlag()),
	}, 1, 2, func(r *run) error {
		plain, err := r.input(1)
		if err != nil {
			return err
		}
		return r.oneText("encrypt", map[string]any{"items": []map[string]any{{
			"plaintext": plain, "associated_data": r.associated(), "key_version": r.Int("version"),
		}}})
	})
}

func newTransitRewrapCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "rewrap", Usage: "encrypt anew with the latest version, unseen", ArgsUsage: "NAME [CIPHERTEXT]", Flags: tenantFlags(associatedFlag(), keyVersionFlag()),
	}, 1, 2, func(r *run) error {
		text, err := r.text(1)
		if err != nil {
			return err
		}
		return r.oneText("rewrap", map[string]any{"items": []map[string]any{{
			"ciphertext": text, "associated_data": r.associated(), "key_version": r.Int("version"),
		}}})
	})
}

func newTransitDecryptCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "decrypt", Usage: "decrypt; what comes out is the bytes that went in", ArgsUsage: "NAME [CIPHERTEXT]", Flags: tenantFlags(associatedFlag()),
	}, 1, 2, func(r *run) error {
		text, err := r.text(1)
		if err != nil {
			return err
		}
		path, err := r.transitPath("decrypt")
		if err != nil {
			return err
		}
		in := map[string]any{"items": []map[string]any{{"ciphertext": text, "associated_data": r.associated()}}}
		var out actions.TransitPlaintexts
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		if len(out.Results) != 1 {
			return errNotOne
		}
		if text := out.Results[0].Error; text != "" || out.Results[0].Plaintext == nil {
			return domain.Errorf(domain.Invalid, "%s", text)
		}
		plain, err := base64.StdEncoding.DecodeString(string(out.Results[0].Plaintext.Reveal()))
		if err != nil {
			return domain.Errorf(domain.Internal, "the answer is not base64")
		}
		return r.show(out.Results[0], func(w io.Writer) { _, _ = w.Write(plain) })
	})
}

func signFlags(more ...cli.Flag) []cli.Flag {
	return tenantFlags(append(more,
		&cli.StringFlag{Name: "hash", Usage: "sha2-256, sha2-384 or sha2-512, where the key leaves a choice"},
		&cli.StringFlag{Name: "algorithm", Usage: "with RSA: pss or pkcs1v15"},
		&cli.StringFlag{Name: "marshaling", Usage: "asn1, or jws for the form of RFC 7515"})...)
}

func (r *run) signOptions(in map[string]any) map[string]any {
	in["hash_algorithm"], in["signature_algorithm"], in["marshaling_algorithm"] = r.String("hash"), r.String("algorithm"), r.String("marshaling")
	return in
}

func newTransitSignCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "sign", Usage: "sign a text, stdin or @FILE", ArgsUsage: "NAME [TEXT]", Flags: signFlags(keyVersionFlag()),
	}, 1, 2, func(r *run) error {
		input, err := r.input(1)
		if err != nil {
			return err
		}
		return r.oneText("sign", r.signOptions(map[string]any{"items": []map[string]any{{"input": input}}, "key_version": r.Int("version")}))
	})
}

func newTransitHMACCommand(std Stdio) *cli.Command {
	hash := &cli.StringFlag{Name: "hash", Usage: "sha2-224, sha2-256, sha2-384 or sha2-512"}
	return clientCommand(std, &cli.Command{
		Name: "hmac", Usage: "authenticate a text, stdin or @FILE", ArgsUsage: "NAME [TEXT]", Flags: tenantFlags(hash, keyVersionFlag()),
	}, 1, 2, func(r *run) error {
		input, err := r.input(1)
		if err != nil {
			return err
		}
		return r.oneText("hmac", map[string]any{
			"items": []map[string]any{{"input": input}}, "key_version": r.Int("version"), "hash_algorithm": r.String("hash"),
		})
	})
}

func newTransitVerifyCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "verify", Usage: "verify a signature or an HMAC of a text, stdin or @FILE", ArgsUsage: "NAME [TEXT]", Flags: signFlags(
			&cli.StringFlag{Name: "signature", Usage: "`TEXT` that sign gave"}, &cli.StringFlag{Name: "hmac", Usage: "`TEXT` that hmac gave"}),
	}, 1, 2, func(r *run) error {
		input, err := r.input(1)
		if err != nil {
			return err
		}
		path, err := r.transitPath("verify")
		if err != nil {
			return err
		}
		in := r.signOptions(map[string]any{"items": []map[string]any{{
			"input": input, "signature": r.String("signature"), "hmac": r.String("hmac"),
		}}})
		var out actions.TransitValids
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, in, &out); err != nil {
			return err
		}
		if len(out.Results) != 1 {
			return errNotOne
		}
		if text := out.Results[0].Error; text != "" {
			return domain.Errorf(domain.Invalid, "%s", text)
		}
		if !out.Results[0].Valid {
			return domain.Errorf(domain.Denied, "this is no signature of %s for this text", clean(r.Args().First()))
		}
		return r.show(out.Results[0], func(w io.Writer) { fmt.Fprintln(w, "valid") })
	})
}
