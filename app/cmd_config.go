package app

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
)

// release is the version of a released binary, set when it is linked.
var release = "dev"

// version is the release, or for a build from source the commit.
func version() string {
	if release != "dev" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
	}
	return release
}

func newVersionCommand(std Stdio) *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version", OnUsageError: usageError, Action: func(c *cli.Context) error {
		if err := wantArguments(c, 0, 0); err != nil {
			return err
		}
		fmt.Fprintln(std.Out, "coffer "+version())
		return nil
	}}
}

func newConfigCommand(std Stdio) *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "show every setting of `coffer serve` and where its value comes from",
		Flags: append(settingFlags(), outputFlag()), OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := wantArguments(c, 0, 0); err != nil {
				return err
			}
			if _, err := loadConfig(c, std); err != nil {
				return err
			}
			return printConfig(c, std)
		},
	}
}

// settingFlags makes the flags of every setting.
func settingFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range settings {
		flags = append(flags, &cli.StringFlag{Name: s.flag, Usage: s.usage + " (" + s.env + ")", DefaultText: s.fallback})
	}
	return flags
}

func printConfig(c *cli.Context, std Stdio) error {
	type row struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Source string `json:"source"`
	}
	var rows []row
	var cells [][]string
	for _, s := range settings {
		value, source := s.resolve(c, std)
		rows = append(rows, row{s.name, value, source})
		cells = append(cells, []string{s.name, dashIfEmpty(value), source})
	}
	switch c.String("output") {
	case "json":
		return json.NewEncoder(std.Out).Encode(rows)
	case "text":
		table(io.Writer(std.Out), []string{"SETTING", "VALUE", "SOURCE"}, cells)
		return nil
	}
	return domain.Fieldf("output", "%.20q is neither text nor json", c.String("output"))
}
