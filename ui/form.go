package ui

import (
	"cmp"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"coffer/app/domain"
	"coffer/app/httpd"
)

// form is what a page's forms hold after one of them was refused: what was typed
// and what is wrong with it. The zero form is one that nobody sent yet.
type form struct {
	Which  string // the form that was sent
	Msg    string // what is wrong, "" if nothing
	Hint   string
	Wrong  string // the field, "" if it is none
	values url.Values
	code   int // the status of the answer
}

// secretFields are fields that are never sent back to the browser.
var secretFields = map[string]bool{
	"password": true, "old": true, "new": true, "again": true, "code": true, "token": true,
	"value": true, "json": true, "secret": true, "characters": true, "group1": true, "group2": true, "passkey": true,
}

// refused makes the form of a page that says what is wrong. An error that is not
// about the form is returned.
func (r *request) refused(which string, err error) (form, error) {
	ours, ok := problem(err)
	if !ok {
		// Who may do such a thing, but not this one, can correct the form.
		if !errors.As(err, &ours) || ours.Kind != domain.Denied || !r.me.May(r.action) {
			return form{}, err
		}
	}
	f := form{Which: which, code: httpd.ProblemOf(ours).Status, Msg: sentenceOf(ours), Hint: domain.HintOf(err), Wrong: fieldName(ours.Field), values: r.kept()}
	if _, there := r.form[f.Wrong]; !there {
		f.Wrong = ""
	}
	return f, nil
}

// sentenceOf is what an error says, without the name of the field that stands
// beside it.
func sentenceOf(e *domain.Error) string {
	msg := strings.TrimPrefix(e.Msg, e.Field+": ")
	if msg == "" {
		return e.Msg
	}
	return strings.ToUpper(msg[:1]) + msg[1:]
}

// fieldName is the name in our forms of a field that an operation names.
func fieldName(s string) string {
	switch s {
	case "check characters":
		return "group1"
	case "tenant":
		return "id"
	case "grant":
		return "grants"
	}
	return s
}

// kept is what was typed, without secrets.
func (r *request) kept() url.Values {
	kept := maps.Clone(r.form)
	maps.DeleteFunc(kept, func(name string, _ []string) bool { return secretFields[name] || strings.HasPrefix(name, "value") })
	return kept
}

// Form is the form of a name, empty unless it is the one that was sent.
func (f form) Form(name string) form {
	if f.Which != name {
		return form{Which: name}
	}
	return f
}

// Bad says whether the form was refused.
func (f form) Bad() bool { return f.Msg != "" }

// ErrorID is where the summary's link leads, "" if no field is wrong.
func (f form) ErrorID() string {
	if f.Wrong == "" {
		return ""
	}
	return f.Which + "-" + f.Wrong
}

// Value is what was typed into a field.
func (f form) Value(name string) string { return f.values.Get(name) }

// Chosen says whether a value of a field was chosen, or is the first choice of a
// form that nobody sent.
func (f form) Chosen(name, value string, first bool) bool {
	if f.values == nil {
		return first
	}
	return slices.Contains(f.values[name], value)
}

// field is one input of a form, with all that belongs to it.
type field struct {
	ID, Name, Label, Value, Error string
	Kind                          string // of the input: text, password …
	About                         string // a sentence under the label
	Complete                      string // autocomplete
	Mode                          string // inputmode
	Pattern                       string
	Needed, Mono, Focus           bool
	Rows                          int // of a text area; 0 is an input
	Options                       []option
}

type option struct {
	Value, Text string
	Chosen      bool
}

// Text is a line of text.
func (f form) Text(name, label string) field {
	out := field{ID: f.Which + "-" + name, Name: name, Label: label, Kind: "text", Complete: "off"}
	if !secretFields[name] {
		out.Value = f.Value(name)
	}
	if f.Wrong == name && name != "" {
		out.Error = f.Msg
	}
	return out
}

// Secret is a line that does not show what is typed.
func (f form) Secret(name, label, complete string) field {
	out := f.Text(name, label)
	out.Kind, out.Value, out.Complete = "password", "", complete
	return out
}

// Area is a text of several lines.
func (f form) Area(name, label string, rows int) field {
	out := f.Text(name, label)
	out.Rows = rows
	return out
}

// Choice is a list to choose from.
func (f form) Choice(name, label, first string, values ...string) field {
	out := f.Text(name, label)
	for _, v := range values {
		value, text, labelled := strings.Cut(v, "=")
		if !labelled {
			text = value
		}
		out.Options = append(out.Options, option{value, text, f.Chosen(name, value, value == first)})
	}
	return out
}

// With… give a field more of what it says.

func (f field) WithHelp(s string) field     { f.About = s; return f }
func (f field) WithValue(s string) field    { f.Value = s; return f }
func (f field) WithComplete(s string) field { f.Complete = s; return f }
func (f field) WithMode(s string) field     { f.Mode = s; return f }
func (f field) WithPattern(s string) field  { f.Pattern = s; return f }
func (f field) WithFocus() field            { f.Focus = true; return f }
func (f field) Required() field             { f.Needed = true; return f }
func (f field) InMono() field               { f.Mono = true; return f }

// Default is the value of a field of a form that nobody sent.
func (f field) Default(s string) field {
	if f.Value == "" {
		f.Value = s
	}
	return f
}

// Describes names what describes the field, for aria-describedby.
func (f field) Describes() string {
	var ids []string
	if f.About != "" {
		ids = append(ids, f.ID+"-about")
	}
	if f.Error != "" {
		ids = append(ids, f.ID+"-error")
	}
	return strings.Join(ids, " ")
}

// problem is the error that a person may be told, if it is one about what was
// typed.
func problem(err error) (*domain.Error, bool) {
	ours, ok := errors.AsType[*domain.Error](err)
	if !ok {
		return nil, false
	}
	switch ours.Kind {
	case domain.Invalid, domain.Conflict, domain.NotFound, domain.Limit, domain.Unauthentic:
		return ours, true
	}
	return nil, false
}

// status is the status of a page with the form on it.
func (f form) status() int {
	return cmp.Or(f.code, 200)
}
