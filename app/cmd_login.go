package app

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
)

func newLoginCommand(std Stdio) *cli.Command {
	flags := clientFlags(
		&cli.StringFlag{Name: "name", Usage: "sign in as `NAME`, with password and code; at the local socket one is known without"},
		&cli.StringFlag{Name: "password-file", Usage: "`FILE` with the password, - for stdin, instead of typing it"},
		&cli.StringFlag{Name: "token-out", Usage: "write the session to `FILE` (mode 0600) instead of printing it"},
		&cli.DurationFlag{Name: "ttl", Usage: "ends after `TIME`: 1h if not given, 24h at most"},
	)
	return clientCommand(std, &cli.Command{
		Name: "login", Usage: "begin a session, to act with elsewhere: --token-file or COFFER_TOKEN", Flags: flags,
	}, 0, 0, login)
}

func login(r *run) error {
	var out actions.SignedIn
	var err error
	r.client.token = domain.Secret{} // who signs in is nobody yet
	if r.IsSet("name") || r.client.socket == "" {
		out, err = signIn(r)
	} else {
		in := actions.SessionIssueIn{TTL: actions.Duration(r.Duration("ttl"))}
		err = r.client.call(r.Context.Context, http.MethodPost, "/api/v1/sessions/issue", nil, in, &out)
	}
	if err != nil {
		return err
	}
	if file := r.String("token-out"); file != "" {
		if err := durable.WriteFile(file, append(out.Session.Reveal(), '\n')); err != nil {
			return domain.Errorf(domain.Invalid, "writing the session: %w", err)
		}
		out.Session = domain.Disclosure{}
	}
	out.Device = domain.Disclosure{} // the command line keeps none
	return showSession(r, out)
}

// signInIn is the wire form of what is typed.
type signInIn struct {
	Name     string           `json:"name"`
	Password string           `json:"password"`
	Code     string           `json:"code,omitempty"`
	TTL      actions.Duration `json:"ttl"`
}

// signIn asks for what is not given, and signs in.
func signIn(r *run) (out actions.SignedIn, err error) {
	in := signInIn{Name: r.String("name"), Code: r.String("code"), TTL: actions.Duration(r.Duration("ttl"))}
	if in.TTL == 0 {
		in.TTL = actions.Duration(domain.DefaultTTL) // the session of a program, not a browser's
	}
	if in.Name == "" {
		if in.Name, err = promptLine(r.std, "Name: "); err != nil {
			return out, err
		}
	}
	var password domain.Secret
	asked := r.String("password-file") == ""
	if asked {
		password, err = prompt(r.std, "Password: ")
	} else {
		password, err = readSecretFile(r.String("password-file"), r.std.In)
	}
	if err != nil {
		return out, err
	}
	in.Password = string(password.Reveal())
	if asked && in.Code == "" {
		code, err := prompt(r.std, "Code of your second factor (empty if there is none yet): ")
		if err != nil {
			return out, err
		}
		in.Code = string(code.Reveal())
	}
	r.client.code = domain.Secret{} // it goes with the sign-in
	return out, r.client.call(r.Context.Context, http.MethodPost, "/api/v1/sessions", nil, in, &out)
}

// promptLine asks at the terminal for something that may be seen.
func promptLine(std Stdio, text string) (string, error) {
	fmt.Fprint(std.Err, text)
	line, err := bufio.NewReader(io.LimitReader(std.In, 4096)).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", domain.Fieldf("name", "missing").WithHint("give it with --name NAME")
	}
	if err == io.EOF {
		err = nil
	}
	return line, err
}

// showSession prints a session bare unless it was written to a file.
func showSession(r *run, out actions.SignedIn) error {
	return r.show(out, func(w io.Writer) {
		r.say("signed in as %s, until %s, accessor %s", out.Name, timeText(out.Expires), out.Accessor)
		if out.Limited {
			r.say("there is no second factor yet: until one is set up, this session can do nothing else")
		}
		if out.Session.Len() > 0 {
			fmt.Fprintln(w, string(out.Session.Reveal()))
		}
	})
}

func newLogoutCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "logout", Usage: "end the session that one acts with", Flags: clientFlags(),
	}, 0, 0, func(r *run) error {
		if r.client.token.Len() == 0 {
			return domain.Fieldf("token", "no session is given").WithHint("give it with --token-file FILE, or in COFFER_TOKEN")
		}
		return endSessions(r, "/api/v1/sessions/own")
	})
}

func endSessions(r *run, path string) error {
	return ask(r, http.MethodDelete, path, nil, nil, func(w io.Writer, out actions.SessionsEnded) {
		fmt.Fprintf(w, "%d sessions ended\n", out.Sessions)
	})
}
