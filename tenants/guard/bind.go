package guard

import (
	"errors"
	"fmt"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// bind gives every parameter its argument. A named parameter takes the named
// argument of its name, with or without prefix, and else, like any other, the
// positional one of its index. Too few, too many or unknown ones are refused.
func (g *Guard) bind(stmt *sqlite.Stmt, r Request) error {
	n := stmt.ParamCount()
	if len(r.Args) > n {
		return argsError("%d positional arguments are more than the %d parameters", len(r.Args), n)
	}
	named, err := index(r.Named)
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		name := stmt.ParamName(i)
		var v sqlite.Value
		if a := named.find(name); a != nil {
			a.taken = true
			v = a.value
		} else if i <= len(r.Args) {
			v = r.Args[i-1]
		} else {
			return argsError("parameter %s has no argument", describeParam(i, name))
		}
		if err := stmt.Bind(i, v); err != nil {
			if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Primary() == sqlite.CodeTooBig {
				return problem(codeTooLarge, domain.Errorf(domain.Limit, "args: parameter %s has %d bytes, more than the %d that a value may have",
					describeParam(i, name), v.Size(), g.limits.Length))
			}
			return err
		}
	}
	for _, a := range r.Named {
		if !named[a.Name].taken {
			return argsError("no parameter has the name %s", show(a.Name))
		}
	}
	return nil
}

// argument is a named one, and whether a parameter took it.
type argument struct {
	value sqlite.Value
	taken bool
}

type arguments map[string]*argument

func index(named []Named) (arguments, error) {
	if len(named) == 0 {
		return nil, nil
	}
	m := make(arguments, len(named))
	for _, a := range named {
		if m[a.Name] != nil {
			return nil, argsError("the argument %s is given twice", show(a.Name))
		}
		m[a.Name] = &argument{value: a.Value}
	}
	return m, nil
}

// find looks a parameter's name up as it is and without its prefix.
func (m arguments) find(name string) *argument {
	if name == "" || m == nil {
		return nil
	}
	if a := m[name]; a != nil {
		return a
	}
	return m[name[1:]]
}

func argsError(format string, args ...any) error {
	return problem(codeArgsInvalid, domain.Fieldf("args", format, args...))
}

func describeParam(i int, name string) string {
	if name == "" {
		return fmt.Sprint(i)
	}
	return show(name)
}

// show quotes something from outside for a message, bounded and on one line.
func show(s string) string {
	const most = 40
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
