package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/vault/seal"
)

func newSealCommand(std Stdio) *cli.Command {
	return group("seal", "what protects the root key at rest",
		newSealStatusCommand(std), newSealAddCommand(std), newSealRemoveCommand(std), newSealRotateCommand(std), newSealRecoveryCommand(std))
}

func passphraseFlag() cli.Flag {
	return &cli.StringFlag{Name: "passphrase-file", Usage: "`FILE` with the passphrase, - for stdin, instead of typing it"}
}

func newSealStatusCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{Name: "status", Usage: "show whether Coffer is sealed, and the key slots", Flags: clientFlags()}, 0, 0, func(r *run) error {
		return ask(r, http.MethodGet, "/api/v1/seal", nil, nil, func(w io.Writer, out actions.SealState) { printSeal(w, out) })
	})
}

func printSeal(w io.Writer, s actions.SealState) {
	state := "open"
	if s.Sealed {
		state = "sealed"
	}
	fmt.Fprintf(w, "state:        %s\nseal:         %s\nrecovery key: %s\n", state, s.Kind, yesNo(s.Recovery))
	var rows [][]string
	for _, slot := range s.Slots {
		rows = append(rows, []string{slot.Name, string(slot.Kind), timeText(slot.Created), slot.Detail})
	}
	table(w, []string{"SLOT", "KIND", "CREATED", "DETAIL"}, rows)
	for _, slot := range s.Slots {
		if slot.Warning != "" {
			fmt.Fprintln(w, "warning: "+slot.Warning)
		}
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newSealAddCommand(std Stdio) *cli.Command {
	flags := clientFlags(passphraseFlag(), &cli.StringFlag{Name: "name", Usage: "`NAME` of the slot; the kind if not given"},
		&cli.IntSliceFlag{Name: "pcr", Usage: "of a TPM: open only while the register `N` is as it is now; 7 is the Secure Boot state. May be given again"})
	return clientCommand(std, &cli.Command{
		Name: "add", Usage: "enrol another slot that opens the root key", ArgsUsage: "tpm|passphrase|keyfile", Flags: flags,
	}, 1, 1, func(r *run) error {
		in := sealAdd{Kind: r.Args().First(), Name: r.String("name"), PCRs: r.IntSlice("pcr")}
		if in.Kind == string(seal.Passphrase) {
			p, err := askPassphrase(r.Context, r.std, true)
			if err != nil {
				return err
			}
			in.Secret = string(p.Reveal())
		}
		var out actions.SlotInfo
		if err := r.client.call(r.Context.Context, http.MethodPost, "/api/v1/seal/slots", nil, in, &out); err != nil {
			return err
		}
		if out.Warning != "" {
			r.say("warning: %s", out.Warning)
		}
		return r.show(out, func(w io.Writer) { fmt.Fprintf(w, "added the slot %s (%s)\n", out.Name, out.Kind) })
	})
}

// sealAdd and unsealBody are the wire forms of inputs that hold a secret.
type sealAdd struct {
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	Secret string `json:"secret,omitempty"`
	PCRs   []int  `json:"pcrs,omitempty"`
}

type unsealBody struct {
	Kind   string `json:"kind"`
	Secret string `json:"secret"`
}

func newSealRemoveCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "remove", Usage: "remove a slot", ArgsUsage: "SLOT", Flags: clientFlags(),
	}, 1, 1, func(r *run) error {
		var out actions.SlotInfo
		path := "/api/v1/seal/slots/" + url.PathEscape(r.Args().First())
		if err := r.client.call(r.Context.Context, http.MethodDelete, path, nil, nil, &out); err != nil {
			return err
		}
		return r.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "removed the slot %s; a copy of seal.json from before still opens with it: coffer seal rotate\n", out.Name)
		})
	})
}

func newSealRotateCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "rotate", Usage: "replace the root key under all slots; a recovery key is replaced and printed", Flags: clientFlags(passphraseFlag()),
	}, 0, 0, func(r *run) error {
		var state actions.SealState
		if err := r.client.call(r.Context.Context, http.MethodGet, "/api/v1/seal", nil, nil, &state); err != nil {
			return err
		}
		var in struct {
			Secret string `json:"secret,omitempty"`
		}
		for _, s := range state.Slots {
			if s.Kind == seal.Passphrase && in.Secret == "" {
				p, err := askPassphrase(r.Context, r.std, false)
				if err != nil {
					return err
				}
				in.Secret = string(p.Reveal())
			}
		}
		return ask(r, http.MethodPost, "/api/v1/seal/rotate", nil, in, func(w io.Writer, out actions.SealRotateOut) {
			fmt.Fprintf(w, "the root key is new under %d slots\n", len(out.Slots))
			if out.Recovery != nil {
				r.say("the recovery key is new too; the old one opens nothing any more. Write this one down:")
				fmt.Fprintln(w, string(out.Recovery.Key.Reveal()))
			}
		})
	})
}

func newSealRecoveryCommand(std Stdio) *cli.Command {
	yes := &cli.BoolFlag{Name: "yes", Usage: "for scripts: keep the printed key without typing its check characters back"}
	return clientCommand(std, &cli.Command{
		Name: "recovery", Usage: "make the recovery key, print it once, and have it typed back", Flags: clientFlags(yes),
	}, 0, 0, func(r *run) error {
		var key actions.RecoveryOut
		if err := r.client.call(r.Context.Context, http.MethodPost, "/api/v1/seal/recovery", nil, actions.Nothing{}, &key); err != nil {
			return err
		}
		if !r.Bool("yes") {
			fmt.Fprintf(r.std.Err, "This key opens everything by itself. Write it down, keep it away from this machine.\n\n    %s\n\n", key.Key.Reveal())
		}
		typed, err := checkCharacters(r, key)
		if err != nil {
			return err
		}
		var slot actions.SlotInfo
		in := struct {
			Characters string `json:"characters"`
		}{typed}
		if err := r.client.call(r.Context.Context, http.MethodPost, "/api/v1/seal/recovery/confirm", nil, in, &slot); err != nil {
			return err
		}
		return r.show(key, func(w io.Writer) {
			if r.Bool("yes") {
				fmt.Fprintln(w, string(key.Key.Reveal()))
			}
			r.say("the recovery key is enrolled")
		})
	})
}

// checkCharacters are the two groups of the key that prove it is on paper: typed
// by a person, or with --yes taken from the key itself.
func checkCharacters(r *run, key actions.RecoveryOut) (string, error) {
	groups := strings.Split(string(key.Key.Reveal()), "-")
	if r.Bool("yes") {
		return groups[key.Groups[0]-1] + groups[key.Groups[1]-1], nil
	}
	fmt.Fprintf(r.std.Err, "Type groups %d and %d of it: ", key.Groups[0], key.Groups[1])
	line, err := bufio.NewReader(r.std.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

func newUnsealCommand(std Stdio) *cli.Command {
	flags := clientFlags(passphraseFlag(),
		&cli.BoolFlag{Name: "recovery", Usage: "open with the recovery key"},
		&cli.StringFlag{Name: "recovery-file", Usage: "`FILE` with the recovery key, - for stdin, instead of typing it"},
		&cli.StringFlag{Name: "with", Usage: "open with a slot that needs nobody: `KIND` tpm or keyfile"},
	)
	return clientCommand(std, &cli.Command{Name: "unseal", Usage: "open a sealed Coffer", Flags: flags}, 0, 0, func(r *run) error {
		in, err := unsealInput(r)
		if err != nil {
			return err
		}
		return ask(r, http.MethodPost, "/api/v1/seal/unseal", nil, in, func(w io.Writer, out actions.SealState) { fmt.Fprintln(w, "Coffer is open") })
	})
}

// unsealInput asks for what opens: the passphrase if there is such a slot, else
// the recovery key.
func unsealInput(r *run) (unsealBody, error) {
	var state actions.SealState
	if err := r.client.call(r.Context.Context, http.MethodGet, "/api/v1/seal", nil, nil, &state); err != nil {
		return unsealBody{}, err
	}
	passphrase := false
	for _, s := range state.Slots {
		passphrase = passphrase || s.Kind == seal.Passphrase
	}
	recovery := r.Bool("recovery") || r.IsSet("recovery-file")
	switch {
	case r.IsSet("with"):
		return unsealBody{Kind: r.String("with")}, nil
	case passphrase && !recovery:
		p, err := askPassphrase(r.Context, r.std, false)
		return unsealBody{string(seal.Passphrase), string(p.Reveal())}, err
	case r.IsSet("recovery-file"):
		k, err := readSecretFile(r.String("recovery-file"), r.std.In)
		return unsealBody{string(seal.Recovery), string(k.Reveal())}, err
	}
	k, err := prompt(r.std, "Recovery key: ")
	return unsealBody{string(seal.Recovery), string(k.Reveal())}, err
}

// askPassphrase reads a passphrase from --passphrase-file or the terminal, never
// from an argument or the environment; a new one is asked for twice.
func askPassphrase(c *cli.Context, std Stdio, isNew bool) (domain.Secret, error) {
	if path := c.String("passphrase-file"); path != "" {
		return readSecretFile(path, std.In)
	}
	if isNew {
		return newPassphrase(std)
	}
	return prompt(std, "Passphrase: ")
}
