package app

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
)

// permute puts flags before arguments, because people and scripts write them
// anywhere and the command line library reads them in front only. What follows
// "--" stays an argument. Flags mean the same in every command that has them, so
// whether one takes a value is known before the command is.
func permute(root *cli.App, args []string) ([]string, error) {
	if len(args) == 2 && args[1] == "--version" {
		return []string{args[0], "version"}, nil // what every program answers
	}
	takesValue := map[string]bool{"help": false, "h": false}
	collectFlags(root.Commands, takesValue)

	path, flags, rest := args[:1:1], []string(nil), []string(nil)
	commands, more := root.Commands, true
	for i := 1; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case len(arg) > 1 && arg[0] == '-' && !isNumber(arg):
			flags = append(flags, arg)
			name, _, inline := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			value, known := takesValue[name]
			if !known {
				return nil, domain.Errorf(domain.Invalid, "there is no flag %.40q", arg).WithHint("see: %s --help", strings.Join(append([]string{"coffer"}, path[1:]...), " "))
			}
			if value && !inline {
				if i++; i >= len(args) {
					return nil, domain.Errorf(domain.Invalid, "the flag %s wants a value", arg).
						WithHint("see: %s --help", strings.Join(append([]string{"coffer"}, path[1:]...), " "))
				}
				flags = append(flags, args[i])
			}
		case more:
			j := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
			if j < 0 {
				rest, more = append(rest, arg), false
				break
			}
			path, commands = append(path, arg), commands[j].Subcommands
			more = len(commands) > 0
		default:
			rest = append(rest, arg)
		}
	}
	out := append(path, flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, nil
}

// isNumber lets negative numbers be arguments.
func isNumber(s string) bool {
	return strings.Trim(s[1:], "0123456789.") == "" && s != "-" && s != "--"
}

func collectFlags(commands []*cli.Command, into map[string]bool) {
	for _, c := range commands {
		for _, f := range c.Flags {
			_, isBool := f.(*cli.BoolFlag)
			for _, name := range f.Names() {
				into[name] = !isBool
			}
		}
		collectFlags(c.Subcommands, into)
	}
}
