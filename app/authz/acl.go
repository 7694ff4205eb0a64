package authz

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"coffer/app/domain"
)

// Bounds of a compiled policy, so that a decision stays cheap.
const (
	MaxPolicies = 64 // that one layer names
	MaxRulePath = 700
)

// Powers is a set of what ACL policies allow on a path, in Vault's words.
type Powers uint16

// The powers. Deny stands alone, and wins over every other.
const (
	MayCreate Powers = 1 << iota
	MayRead
	MayUpdate
	MayPatch
	MayDelete
	MayList
	MaySudo
	Deny
)

// powerNames are the words, in the order in which they are shown.
var powerNames = []struct {
	name  string
	power Powers
}{
	{"create", MayCreate}, {"delete", MayDelete}, {"deny", Deny}, {"list", MayList}, {"patch", MayPatch},
	{"read", MayRead}, {"sudo", MaySudo}, {"update", MayUpdate},
}

// ParsePower reads one word.
func ParsePower(s string) (Powers, bool) {
	for _, p := range powerNames {
		if p.name == s {
			return p.power, true
		}
	}
	return 0, false
}

// Names are the words of the set; of the empty one it is deny.
func (p Powers) Names() []string {
	if p == 0 || p&Deny != 0 {
		return []string{"deny"}
	}
	var out []string
	for _, n := range powerNames {
		if p&n.power != 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// has says whether all that is needed is in the set.
func (p Powers) has(need Powers) bool { return p&Deny == 0 && need != 0 && p&need == need }

// Rule is what one policy allows on the paths of a pattern. In a pattern a segment
// "+" stands for any one segment, and a "*" at the end for whatever follows.
type Rule struct {
	Policy string
	Path   string
	Powers Powers
}

// ParseRulePath checks the pattern of a rule, and takes off a slash at its start.
// What could never match a path, or would match others than it seems to, is refused.
func ParseRulePath(s string) (string, error) {
	s = strings.TrimPrefix(s, "/")
	bad := func(why string) (string, error) { return "", domain.Fieldf("policy", "the path %.80q %s", s, why) }
	switch {
	case s == "":
		return bad("is empty")
	case len(s) > MaxRulePath:
		return bad("is too long")
	case !utf8.ValidString(s):
		return bad("is not valid UTF-8")
	case strings.Contains(s, "{{"):
		return bad("is a template, which policies here do not have: write the path out")
	case strings.Contains(strings.TrimSuffix(s, "*"), "*"):
		return bad("has a * before its end: for any one segment write +")
	case strings.HasSuffix(s, "+*"):
		return bad("ends in +*, which Vault forbids too")
	case strings.IndexFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || strings.ContainsRune(`\?#%`, r) || unicode.IsSpace(r) && r != ' ' || unicode.Is(unicode.Cf, r)
	}) >= 0:
		return bad("has a character that no path has")
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case segment == "" && !last:
			return bad("has an empty segment, as no path has")
		case segment == "." || segment == "..":
			return bad("has a segment . or .., as no path has")
		case segment != "+" && strings.Contains(segment, "+"):
			return bad("has a + that is not a segment of its own, as no path has")
		}
	}
	return s, nil
}

// ACL is a compiled set of rules. It does not change.
type ACL struct {
	exact    map[string]*entry
	prefixes map[string]*entry
	lengths  []int // of the prefixes, the longest first
	wild     []*entry
}

// entry is a pattern with what all rules of it allow together.
type entry struct {
	path     string
	pattern  pattern
	powers   Powers
	policies []string
}

// pattern is a path in segments. With star the tail begins what follows them.
type pattern struct {
	segments []string
	tail     string
	star     bool
}

func parsePattern(s string) pattern {
	s, star := strings.CutSuffix(s, "*")
	p := pattern{segments: strings.Split(s, "/"), star: star}
	if star {
		last := len(p.segments) - 1
		p.tail, p.segments = p.segments[last], p.segments[:last]
	}
	return p
}

// isWild says whether a segment stands for any.
func (p pattern) isWild() bool { return slices.Contains(p.segments, "+") }

// matches says whether the segments of a path are of the pattern.
func (p pattern) matches(path []string) bool {
	if len(path) < len(p.segments) || !p.star && len(path) != len(p.segments) {
		return false
	}
	for i, s := range p.segments {
		if s != "+" && s != path[i] {
			return false
		}
	}
	return !p.star || len(path) > len(p.segments) && strings.HasPrefix(path[len(p.segments)], p.tail)
}

// CompileACL puts rules together: on the same pattern their powers are united, but
// a deny takes all of them.
func CompileACL(rules []Rule) *ACL {
	a := &ACL{exact: map[string]*entry{}, prefixes: map[string]*entry{}}
	all := map[string]*entry{}
	for _, r := range rules {
		e := all[r.Path]
		if e == nil {
			e = &entry{path: r.Path, pattern: parsePattern(r.Path)}
			all[r.Path] = e
		}
		e.powers |= r.Powers
		if !slices.Contains(e.policies, r.Policy) {
			e.policies = append(e.policies, r.Policy)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		e := all[path]
		if e.powers&Deny != 0 {
			e.powers = Deny
		}
		switch prefix, star := strings.CutSuffix(path, "*"); {
		case e.pattern.isWild():
			a.wild = append(a.wild, e)
		case star:
			a.prefixes[prefix] = e
			if !slices.Contains(a.lengths, len(prefix)) {
				a.lengths = append(a.lengths, len(prefix))
			}
		default:
			a.exact[path] = e
		}
	}
	slices.SortFunc(a.lengths, func(x, y int) int { return cmp.Compare(y, x) })
	slices.SortFunc(a.wild, func(x, y *entry) int { return -before(x, y) })
	return a
}

// before is Vault's order among patterns that match the same path, the weakest
// first: where the first + or * stands earlier; what ends in *; what has more +;
// what is shorter; what comes first in the alphabet.
func before(x, y *entry) int {
	return cmp.Or(
		cmp.Compare(firstWild(x.path), firstWild(y.path)),
		compareBool(y.pattern.star, x.pattern.star),
		cmp.Compare(plusses(y), plusses(x)),
		cmp.Compare(len(x.path), len(y.path)),
		strings.Compare(x.path, y.path),
	)
}

func firstWild(path string) int {
	if i := strings.IndexAny(path, "+*"); i >= 0 {
		return i
	}
	return len(path)
}

func plusses(e *entry) (n int) {
	for _, s := range e.pattern.segments {
		if s == "+" {
			n++
		}
	}
	return n
}

// compareBool is -1 if only y is true.
func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

// find gives the one pattern that decides about a path, nil for none. A path that
// is listed ends in a slash; a pattern without that slash is one for it too.
func (a *ACL) find(path string) *entry {
	if a == nil {
		return nil
	}
	if e := a.exact[path]; e != nil {
		return e
	}
	if folder, ok := strings.CutSuffix(path, "/"); ok {
		if e := a.exact[folder]; e != nil {
			return e
		}
		if e := a.match(folder); e != nil {
			if whole := a.match(path); whole != nil && whole.powers&Deny != 0 {
				return whole // who writes hidden/* means what is listed at hidden/ too
			}
			return e
		}
	}
	return a.match(path)
}

// match finds the strongest pattern with + or * that matches.
func (a *ACL) match(path string) (best *entry) {
	for _, n := range a.lengths {
		if n <= len(path) {
			if best = a.prefixes[path[:n]]; best != nil {
				break
			}
		}
	}
	if len(a.wild) == 0 {
		return best
	}
	segments := strings.Split(path, "/")
	for _, e := range a.wild { // the strongest first
		if e.pattern.matches(segments) {
			if best == nil || before(best, e) < 0 {
				return e
			}
			break
		}
	}
	return best
}

// Powers are what the rules allow on a path.
func (a *ACL) Powers(path string) Powers {
	if e := a.find(path); e != nil {
		return e.powers
	}
	return 0
}

// Allows says whether the rules allow what a route needs.
func (a *ACL) Allows(r Route) bool { return a.Powers(r.Path).has(r.Powers) }
