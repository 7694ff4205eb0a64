package authz

import (
	"slices"
	"strings"
)

// overlaps says whether some path is of both patterns.
func (p pattern) overlaps(q pattern) bool {
	for i := range min(len(p.segments), len(q.segments)) {
		if a, b := p.segments[i], q.segments[i]; a != b && a != "+" && b != "+" {
			return false
		}
	}
	long, short := p, q
	if len(long.segments) < len(short.segments) {
		long, short = short, long
	}
	if len(long.segments) > len(short.segments) {
		next := long.segments[len(short.segments)]
		return short.star && (next == "+" || strings.HasPrefix(next, short.tail))
	}
	switch {
	case p.star && q.star:
		return strings.HasPrefix(p.tail, q.tail) || strings.HasPrefix(q.tail, p.tail)
	case p.star || q.star:
		return false // one has a segment more
	}
	return true
}

// covers says whether every path of q is one of p.
func (p pattern) covers(q pattern) bool {
	if len(q.segments) < len(p.segments) || !p.star && (q.star || len(q.segments) != len(p.segments)) {
		return false
	}
	for i, s := range p.segments {
		if s != "+" && s != q.segments[i] {
			return false
		}
	}
	switch {
	case !p.star:
		return true
	case len(q.segments) > len(p.segments):
		next := q.segments[len(p.segments)]
		return p.tail == "" || next != "+" && strings.HasPrefix(next, p.tail)
	}
	return q.star && strings.HasPrefix(q.tail, p.tail)
}

// folded are the pattern, and those of the same paths with and without a slash at
// their end: about a folder that is listed either can decide.
func (p pattern) folded() []pattern {
	out := []pattern{p}
	last := len(p.segments) - 1
	switch {
	case p.star:
		if p.tail == "" {
			out = append(out, pattern{segments: p.segments})
		}
		return out
	case last > 0 && (p.segments[last] == "" || p.segments[last] == "+"):
		out = append(out, pattern{segments: p.segments[:last]})
	}
	return append(out, pattern{segments: append(slices.Clone(p.segments), "")})
}

func meet(p, q pattern) bool {
	for _, a := range p.folded() {
		if slices.ContainsFunc(q.folded(), a.overlaps) {
			return true
		}
	}
	return false
}

// entries are all patterns of the ACL.
func (a *ACL) entries() (out []*entry) {
	if a == nil {
		return nil
	}
	for _, e := range a.exact {
		out = append(out, e)
	}
	for _, e := range a.prefixes {
		out = append(out, e)
	}
	return append(out, a.wild...)
}

// covers says whether the ACL surely allows all that a rule does: one of its
// patterns takes in the whole of the rule's, and none that could decide about any
// of those paths in its place allows less. There are rules that it allows and of
// which this says no.
func (a *ACL) covers(path string, powers Powers) bool {
	want, whole := parsePattern(path), false
	for _, e := range a.entries() {
		if !meet(e.pattern, want) {
			continue
		}
		if !e.powers.has(powers) {
			return false
		}
		whole = whole || e.pattern.covers(want)
	}
	return whole
}

// lacksUnder is lacks for a layer of policies.
func (l Layer) lacksUnder(give Layer) string {
	switch {
	case give.Role != "":
		return "role " + string(give.Role)
	case len(give.Policies) > 0 && samePolicies(l.Policies, give.Policies):
		return ""
	case len(give.Policies) > 0:
		if give.ACL == nil {
			return "policy " + give.Policies[0]
		}
		for _, e := range give.ACL.entries() {
			if e.powers&Deny == 0 && e.powers != 0 && !l.ACL.covers(e.path, e.powers) {
				return "policy " + strings.Join(e.policies, ", ") + ", path " + e.path
			}
		}
		return ""
	}
	for _, c := range give.Capabilities {
		if !l.ACL.coversCapability(c) {
			return c.String()
		}
	}
	return ""
}

func samePolicies(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) }) &&
		!slices.ContainsFunc(b, func(s string) bool { return !slices.Contains(a, s) })
}

// coversCapability says whether the ACL surely allows all that the capability does.
func (a *ACL) coversCapability(c Capability) bool {
	if a == nil || c.class == "" || c.class == capEngine {
		return false
	}
	if c.class == capSecretList { // it lists every folder on the way
		return a.covers("secret/metadata/*", MayList|MayRead)
	}
	for _, info := range table {
		if info.Scope != Tenant || !c.reachesAction(info) {
			continue
		}
		route, ok := routes[info.Action]
		if !ok || !a.covers(c.routed(route), route.needs().Powers) {
			return false
		}
	}
	for _, o := range furtherRoutes {
		if c.reachesAction(byAction[o.Action]) && !a.covers(c.routed(o.Route), o.Route.needs().Powers) {
			return false
		}
	}
	return true
}

// reachesAction says whether the capability is one for the action.
func (c Capability) reachesAction(info Info) bool {
	switch info.Cap {
	case "":
		return false
	case capSQLRead:
		return c.class == capSQL
	case capSQLWrite:
		return c.class == capSQL && (Layer{Capabilities: []Capability{c}}).SQL() >= SQLReadWrite
	}
	return info.Cap == c.class
}

// routed is the pattern of a route for the resources of a capability, or for more.
func (c Capability) routed(r Route) string {
	segments := strings.Split(c.pattern, "/")
	open := segments[len(segments)-1] == "*"
	for i, s := range segments {
		if s == "*" {
			segments[i] = "+"
		}
	}
	if open {
		segments[len(segments)-1] = "*"
	}
	before, after, has := strings.Cut(r.Path, resource)
	switch {
	case !has:
		return r.Path
	case open:
		return before + strings.Join(segments, "/") // and whatever follows, so also what comes after
	}
	return before + strings.Join(segments, "/") + after
}
