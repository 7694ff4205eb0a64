package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// Flags that commands share. A flag means the same wherever it stands.
func dataFlag() cli.Flag {
	return &cli.StringFlag{Name: "data", Usage: "data `DIR`ectory (COFFER_DATA)", DefaultText: defaultData}
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "text or json", Value: "text"}
}

func tokenFlag() cli.Flag {
	return &cli.StringFlag{Name: "token-file", Usage: "`FILE` with a token or session to act with (or COFFER_TOKEN)"}
}

func codeFlag() cli.Flag {
	return &cli.StringFlag{Name: "code", Usage: "`CODE` of your second factor, for what wants one"}
}

func addrFlag() cli.Flag {
	return &cli.StringFlag{Name: "addr", Usage: "`URL` of a Coffer to call over the network instead of the local socket (COFFER_ADDR, if there is no socket)"}
}

func authorityFlag() cli.Flag {
	return &cli.StringFlag{Name: "cacert", Usage: "`FILE` with the certificate authority to trust, in PEM (COFFER_CACERT)"}
}

func tenantFlag() cli.Flag {
	return &cli.StringFlag{Name: "tenant", Aliases: []string{"t"}, Usage: "`TENANT` to act in (COFFER_TENANT)"}
}

// clientFlags are those of every command that calls a running Coffer.
func clientFlags(more ...cli.Flag) []cli.Flag {
	return append(more, dataFlag(), addrFlag(), authorityFlag(), tokenFlag(), codeFlag(), outputFlag())
}

func tenantFlags(more ...cli.Flag) []cli.Flag { return clientFlags(append(more, tenantFlag())...) }

// run is one call of a client command.
type run struct {
	*cli.Context
	std    Stdio
	client *client
}

// clientCommand fills a command that calls a running Coffer and takes between
// least and most arguments.
func clientCommand(std Stdio, c *cli.Command, least, most int, do func(r *run) error) *cli.Command {
	c.OnUsageError = usageError
	c.HideHelpCommand = true // h and help can be names; --help is there
	c.Action = func(ctx *cli.Context) error {
		if err := wantArguments(ctx, least, most); err != nil {
			return err
		}
		if o := ctx.String("output"); o != "text" && o != "json" {
			return domain.Fieldf("output", "%.20q is neither text nor json", o)
		}
		cl, err := dial(ctx, std)
		if err != nil {
			return err
		}
		return do(&run{Context: ctx, std: std, client: cl})
	}
	return c
}

// wantArguments refuses more or fewer arguments than the command takes.
func wantArguments(c *cli.Context, least, most int) error {
	if n := c.NArg(); n < least || n > most {
		return domain.Errorf(domain.Invalid, "%s takes %s", c.Command.HelpName, arguments(c.Command.ArgsUsage)).
			WithHint("see: %s --help", c.Command.HelpName)
	}
	return nil
}

func arguments(usage string) string {
	if usage == "" {
		return "no arguments"
	}
	return "the arguments " + usage
}

// group is a command that only has subcommands.
func group(name, usage string, sub ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, Subcommands: sub, OnUsageError: usageError, Action: func(c *cli.Context) error {
		if c.Args().Present() {
			return domain.Errorf(domain.Invalid, "there is no command %q %.40q", "coffer "+name, c.Args().First()).
				WithHint("see: coffer %s --help", name)
		}
		return cli.ShowSubcommandHelp(c)
	}}
}

// tenant is the tenant of --tenant or COFFER_TENANT. An empty --tenant, as an
// unset variable in a script makes it, does not fall back on another tenant.
func (r *run) tenant() (string, error) {
	t := r.String("tenant")
	if !r.IsSet("tenant") {
		t = r.std.Env("COFFER_TENANT")
	}
	if t == "" {
		return "", domain.Fieldf("tenant", "no tenant is named").WithHint("add -t TENANT, or set COFFER_TENANT")
	}
	_, err := domain.ParseTenantID(t)
	return t, err
}

// tenantPath is a path of the API within the tenant.
func (r *run) tenantPath(rest ...string) (string, error) {
	t, err := r.tenant()
	path := "/api/v1/tenants/" + url.PathEscape(t)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path, err
}

// json says whether -o json was given.
func (r *run) json() bool { return r.String("output") == "json" }

// show prints an answer: as one JSON document, or with text.
func (r *run) show(answer any, text func(w io.Writer)) error {
	if !r.json() {
		text(r.std.Out)
		return nil
	}
	return writeJSON(r.std.Out, answer)
}

func writeJSON(w io.Writer, answer any) error {
	enc := json.NewEncoder(escaping{w})
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(answer)
}

// escaping writes JSON with escapes for the control characters that JSON leaves
// as they are, DEL and those above: some of them speak to a terminal.
type escaping struct{ w io.Writer }

// Write writes JSON in which no character is cut in two.
func (e escaping) Write(b []byte) (int, error) {
	done := 0
	for i := 0; i < len(b); i++ {
		size := 1
		switch {
		case b[i] == 0x7f:
		case b[i] == 0xc2 && i+1 < len(b) && b[i+1] < 0xa0:
			size = 2
		default:
			continue
		}
		if _, err := e.w.Write(b[done:i]); err != nil {
			return done, err
		}
		if _, err := fmt.Fprintf(e.w, `\u%04x`, b[i+size-1]); err != nil {
			return i, err
		}
		i += size - 1
		done = i + 1
	}
	_, err := e.w.Write(b[done:])
	return len(b), err
}

// ask calls the API and prints its answer: as one JSON document, or with text.
func ask[Out any](r *run, method, path string, query url.Values, in any, text func(w io.Writer, out Out)) error {
	var out Out
	if err := r.client.call(r.Context.Context, method, path, query, in, &out); err != nil {
		return err
	}
	return r.show(out, func(w io.Writer) { text(w, out) })
}

// pages asks for every page of a list. take keeps one and gives its cursor.
func pages[Out any](r *run, path string, take func(page Out) (next string)) error {
	for after := ""; ; {
		var page Out
		q := queryOf("after", after, "limit", strconv.Itoa(actions.MaxPage))
		if err := r.client.call(r.Context.Context, http.MethodGet, path, q, nil, &page); err != nil {
			return err
		}
		if after = take(page); after == "" {
			return nil
		}
	}
}

// say prints a message for people: to stderr, so that stdout stays data.
func (r *run) say(format string, args ...any) {
	fmt.Fprintln(r.std.Err, clean(fmt.Sprintf(format, args...)))
}

// table prints rows in columns. Cells come from outside in part, so they are
// cleaned.
func table(w io.Writer, head []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	// The head of a query's result comes from outside too.
	for _, row := range append([][]string{slices.Clone(head)}, rows...) {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush()
}

func timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func dashIfEmpty(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func queryOf(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func joinText[T interface{ String() string }](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = v.String()
	}
	return strings.Join(parts, " ")
}
