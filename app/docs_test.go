package app_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app/actions"
	"coffer/app/domain"
)

var update = flag.Bool("update", false, "write generated documents again")

// TestActionsDocument keeps docs/actions.md what the table of actions says.
func TestActionsDocument(t *testing.T) {
	path := filepath.Join("..", "docs", "actions.md")
	want := actionsDocument()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says; run: make docs", path)
	}
}

func actionsDocument() string {
	var b strings.Builder
	b.WriteString("# Actions\n\nGenerated from the table in `app/authz`; run `make docs` after a change. An action is the unit of authorization, audit and documentation.\n\n")
	b.WriteString("\"own\" means: for what is one's own only. A *change* makes its intent durable before it happens. *Open* actions need no role: they are about the caller itself or about nothing worth hiding.\n\n")
	b.WriteString("*Second factor*: proven within the last five minutes, or by a code that comes with the request. A tenant's token is not asked for one. A session of somebody who has no second factor yet can only set one up, see the own account and sign out.\n\n")
	b.WriteString("| action | meaning | scope | change | resource in the log | who may | capability | asks for |\n|---|---|---|---|---|---|---|---|\n")
	for _, a := range actions.ActionTable() {
		change := ""
		if a.Changes {
			change = "yes"
		}
		capability := a.Cap
		if capability != "" {
			capability = "`" + capability + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", a.Action, a.Meaning, a.Scope, change, a.Resource, who(a), capability, strings.Join(a.Asks, "; "))
	}
	return b.String()
}

func who(a actions.ActionInfo) string {
	var names []string
	add := func(list []domain.Role, suffix string) {
		for _, r := range list {
			names = append(names, string(r)+suffix)
		}
	}
	add(a.Roles, "")
	add(a.Own, " (own)")
	return strings.Join(names, ", ")
}
