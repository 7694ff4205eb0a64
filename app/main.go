package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
)

// Stdio is where a run of the program reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string // os.Getenv
}

// Exit codes. Scripts rely on them.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitDenied   = 3
	exitNotFound = 4
	exitSealed   = 5 // or nobody answers
	exitTampered = 6
)

// exitCodes is the one table from kinds of errors to exit codes.
var exitCodes = map[domain.Kind]int{
	domain.Internal:    exitFailed,
	domain.Invalid:     exitUsage,
	domain.Denied:      exitDenied,
	domain.NotFound:    exitNotFound,
	domain.Conflict:    exitFailed,
	domain.Sealed:      exitSealed,
	domain.Unavailable: exitSealed,
	domain.Limit:       exitFailed,
	domain.Tampered:    exitTampered,
	domain.Unauthentic: exitDenied,
	domain.StepUp:      exitDenied,
}

// Main runs the program with its arguments (the first is its name) and gives the
// exit code.
func Main(args []string, std Stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(std)
	args, err := permute(root, args)
	if err == nil {
		err = root.RunContext(ctx, args)
	}
	if err == nil {
		return exitOK
	}
	return report(std.Err, err)
}

// report says what happened and what to do about it, and gives the exit code.
func report(w io.Writer, err error) int {
	fmt.Fprintln(w, "error: "+clean(err.Error()))
	if hint := domain.HintOf(err); hint != "" {
		fmt.Fprintln(w, "hint:  "+clean(hint))
	}
	if _, ok := errors.AsType[*domain.Error](err); !ok {
		return exitFailed
	}
	return exitCodes[domain.KindOf(err)]
}

// clean keeps a message on one line of printable text, whatever it quotes.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// cleanLines is clean for a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

func newRoot(std Stdio) *cli.App {
	return &cli.App{
		Name:            "coffer",
		Usage:           "a closed coffer for every client: encrypted data, keys, short-lived tokens, and a log that nobody can rewrite",
		HideHelpCommand: true,
		HideVersion:     true,
		Reader:          std.In,
		Writer:          std.Out,
		ErrWriter:       std.Err,
		ExitErrHandler:  func(*cli.Context, error) {}, // Main reports
		OnUsageError:    usageError,
		Action:          unknownCommand,
		Commands: []*cli.Command{
			newServeCommand(std), newUnsealCommand(std), newSealCommand(std),
			newRotateCommand(std), newClientKeyCommand(std),
			newTenantCommand(std), newMemberCommand(std), newBreakGlassCommand(std),
			newSecretCommand(std), newPolicyCommand(std), newTransitCommand(std), newWorkloadCommand(std), newTokenCommand(std), newLeaseCommand(std), newWrapCommand(std),
			newSQLCommand(std), newQueryCommand(std), newDashboardCommand(std), newMigrateCommand(std), newImportCommand(std), newExportCommand(std), newAuditCommand(std), newAlertCommand(std),
			newSetupLinkCommand(std), newAdminCommand(std), newInviteCommand(std), newPersonCommand(std),
			newLoginCommand(std), newLogoutCommand(std), newSessionCommand(std), newAccountCommand(std),
			newRoleCommand(std), newActionCommand(std),
			newDoctorCommand(std), newHealthCommand(std), newConfigCommand(std), newVersionCommand(std),
			newWorkerCommand(std), newReadDBCommand(std),
		},
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	return domain.Errorf(domain.Invalid, "%s", err.Error()).WithHint("see: %s --help", c.Command.HelpName)
}

// unknownCommand prints help when nothing was asked, and refuses what is unknown.
func unknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return domain.Errorf(domain.Invalid, "there is no command %.40q", c.Args().First()).WithHint("see: coffer --help")
	}
	return cli.ShowAppHelp(c)
}
