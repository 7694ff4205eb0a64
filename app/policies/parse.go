package policies

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"coffer/app/authz"
	"coffer/app/domain"
)

// Bounds of a policy.
const (
	MaxText  = 64 << 10
	MaxRules = 1000
	maxNest  = 32 // brackets in each other: the parsers call themselves for each
)

// Parse reads the text of the policy of that name. Of what is wrong the error says
// the line and the column.
func Parse(name, text string) ([]authz.Rule, error) {
	switch {
	case len(text) > MaxText:
		return nil, domain.Fieldf("policy", "%d bytes are more than the %d that a policy may have", len(text), MaxText)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return nil, domain.Fieldf("policy", "not valid UTF-8, or with a zero character")
	case strings.TrimSpace(text) == "":
		return nil, domain.Fieldf("policy", "the policy is empty").WithHint(example)
	case deep(text):
		return nil, domain.Fieldf("policy", "more than %d brackets stand in each other", maxNest)
	}
	body, diags := open([]byte(text))
	if diags.HasErrors() {
		return nil, refusal(diags)
	}
	content, diags := body.Content(&hcl.BodySchema{
		Blocks:     []hcl.BlockHeaderSchema{{Type: "path", LabelNames: []string{"path"}}},
		Attributes: []hcl.AttributeSchema{{Name: "name"}},
	})
	if diags.HasErrors() {
		return nil, refusal(diags)
	}
	if a := content.Attributes["name"]; a != nil {
		if said, err := literal(a.Expr); err != nil || said != name {
			return nil, at(a.Range, "the policy calls itself by another name than %q", name)
		}
	}
	switch n := len(content.Blocks); {
	case n == 0:
		return nil, domain.Fieldf("policy", "the policy has no path").WithHint(example)
	case n > MaxRules:
		return nil, domain.Fieldf("policy", "%d paths are more than the %d that a policy may have", n, MaxRules)
	}
	rules := make([]authz.Rule, 0, len(content.Blocks))
	for _, b := range content.Blocks {
		r, err := ruleOf(name, b)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

const example = `for example: path "secret/data/stripe/*" { capabilities = ["read"] }`

// open parses JSON if the text is an object, and else HCL.
func open(text []byte) (hcl.Body, hcl.Diagnostics) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		f, diags := hcljson.Parse(text, "policy")
		if f == nil {
			return nil, diags
		}
		return f.Body, diags
	}
	f, diags := hclsyntax.ParseConfig(text, "policy", hcl.InitialPos)
	if f == nil {
		return nil, diags
	}
	return f.Body, diags
}

// deep says whether brackets stand too deep in each other, wherever they stand.
func deep(text string) bool {
	depth := 0
	for _, r := range text {
		switch r {
		case '{', '[', '(':
			if depth++; depth > maxNest {
				return true
			}
		case '}', ']', ')':
			depth = max(depth-1, 0)
		}
	}
	return false
}

// unsupported are what Vault knows in a path and Coffer would not obey.
var unsupported = map[string]string{
	"allowed_parameters": "", "denied_parameters": "", "required_parameters": "",
	"min_wrapping_ttl": "", "max_wrapping_ttl": "", "control_group": "", "mfa_methods": "", "subscribe_event_types": "", "pagination_limit": "",
	"expiration": "", "list_scan_response_keys_filter_path": "", "comment": "; write it after a #",
}

// ruleOf reads one path.
func ruleOf(name string, b *hcl.Block) (authz.Rule, error) {
	path, err := authz.ParseRulePath(b.Labels[0])
	if err != nil {
		return authz.Rule{}, located(b.LabelRanges[0], err)
	}
	r := authz.Rule{Policy: name, Path: path}
	schema := &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "capabilities"}, {Name: "policy"}}}
	content, rest, diags := b.Body.PartialContent(schema)
	if diags.HasErrors() {
		return r, refusal(diags)
	}
	if more, _ := rest.JustAttributes(); len(more) > 0 {
		for attribute, a := range more {
			if why, known := unsupported[attribute]; known {
				return r, at(a.NameRange, "%s is not supported here, and a policy that is not obeyed is not kept%s", attribute, why)
			}
		}
	}
	if content, diags = b.Body.Content(schema); diags.HasErrors() {
		return r, refusal(diags)
	}
	list, old := content.Attributes["capabilities"], content.Attributes["policy"]
	switch {
	case list != nil && old != nil:
		return r, at(old.Range, "give capabilities, or a policy, not both")
	case list != nil:
		r.Powers, err = capabilities(list.Expr)
	case old != nil:
		r.Powers, err = oldPolicy(old.Expr)
	default:
		return r, at(b.DefRange, "the path %.80q has no capabilities", path)
	}
	return r, err
}

// capabilities reads the list of words.
func capabilities(e hcl.Expression) (p authz.Powers, err error) {
	list, diags := hcl.ExprList(e)
	if diags.HasErrors() {
		return 0, at(e.Range(), "capabilities is not a list of words")
	}
	for _, item := range list {
		word, err := literal(item)
		if err != nil {
			return 0, err
		}
		power, ok := authz.ParsePower(word)
		if !ok {
			return 0, at(item.Range(), "%.40q is none of the capabilities create, read, update, patch, delete, list, sudo and deny", word)
		}
		p |= power
	}
	if len(list) == 0 {
		return 0, at(e.Range(), "the list of capabilities is empty: write deny for none")
	}
	if p&authz.Deny != 0 {
		p = authz.Deny
	}
	return p, nil
}

// oldPolicy reads the form of before there were capabilities.
func oldPolicy(e hcl.Expression) (authz.Powers, error) {
	word, err := literal(e)
	if err != nil {
		return 0, err
	}
	write := authz.MayCreate | authz.MayRead | authz.MayUpdate | authz.MayDelete | authz.MayList
	switch word {
	case "deny":
		return authz.Deny, nil
	case "read":
		return authz.MayRead | authz.MayList, nil
	case "write":
		return write, nil
	case "sudo":
		return write | authz.MaySudo, nil
	}
	return 0, at(e.Range(), "%.40q is none of read, write, sudo and deny", word)
}

// literal reads a string that stands there as it is. Everything else that the
// language has, and that would have to be worked out, is refused.
func literal(e hcl.Expression) (string, error) {
	if t, native := e.(*hclsyntax.TemplateExpr); native {
		if !t.IsStringLiteral() {
			return "", at(e.Range(), "templates are not supported: write the text out")
		}
	} else if _, native := e.(*hclsyntax.TemplateWrapExpr); native {
		return "", at(e.Range(), "templates are not supported: write the text out")
	} else if _, native := e.(hclsyntax.Expression); native {
		return "", at(e.Range(), "not a text in double quotes")
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return "", at(e.Range(), "not a text in double quotes")
	}
	return v.AsString(), nil
}

func at(r hcl.Range, format string, args ...any) error {
	return domain.Fieldf("policy", "line %d, column %d: %s", r.Start.Line, r.Start.Column, fmt.Sprintf(format, args...))
}

// located adds the place to an error of a path.
func located(r hcl.Range, err error) error { return at(r, "%s", err.Error()) }

// refusal is the first thing that a parser found wrong.
func refusal(diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		text := strings.Join(strings.Fields(d.Summary+": "+d.Detail), " ")
		if len(text) > 300 {
			text = strings.ToValidUTF8(text[:300], "") + "…"
		}
		if d.Subject == nil {
			return domain.Fieldf("policy", "%s", text)
		}
		return at(*d.Subject, "%s", text)
	}
	return domain.Fieldf("policy", "not readable")
}
