package authz

import (
	"slices"
	"strings"

	"coffer/app/domain"
)

// capClass is the part of a capability before its pattern.
type capClass string

const (
	capSecretRead  capClass = "secret:read"
	capSecretWrite capClass = "secret:write"
	capSecretList  capClass = "secret:list"
	capEngine      capClass = "engine"
	capTransit     capClass = "transit"
	capSQL         capClass = "sql"

	// In the table of actions only: the two levels of sql:<role>.
	capSQLRead  capClass = "sql:read"
	capSQLWrite capClass = "sql:write"
)

// Bounds on what can be granted, so that a decision stays cheap.
const (
	MaxCapabilities   = 64
	MaxCapabilityText = 600
)

// Capability is one thing that a workload was granted, e.g.
// secret:read:stripe/* or sql:analyst. The zero Capability allows nothing.
//
// Patterns are paths whose segments are literal or "*" for any one segment; a
// "*" at the end stands for one or more segments.
type Capability struct {
	class   capClass
	pattern string
}

// ParseCapability reads the text form.
func ParseCapability(s string) (Capability, error) {
	bad := func(why string) (Capability, error) {
		return Capability{}, domain.Fieldf("grant", "%.80q %s", s, why).
			WithHint("for example secret:read:stripe/*, secret:list:*, sql:analyst, engine:pg/readonly, transit:orders")
	}
	if len(s) > MaxCapabilityText {
		return bad("is too long")
	}
	for _, class := range []capClass{capSecretRead, capSecretWrite, capSecretList, capEngine, capTransit, capSQL} {
		pattern, ok := strings.CutPrefix(s, string(class)+":")
		if !ok {
			continue
		}
		if class == capSQL {
			if _, ok := sqlLevels[domain.Role(pattern)]; !ok {
				return bad("names no role that may use SQL (analyst, admin, owner)")
			}
			return Capability{class, pattern}, nil
		}
		if !validPattern(pattern) {
			return bad("has a pattern that is not a path with optional * segments")
		}
		return Capability{class, pattern}, nil
	}
	return bad("is not a capability")
}

// ParseCapabilities reads a list, refuses an empty or oversized one and drops
// repetitions.
func ParseCapabilities(list []string) ([]Capability, error) {
	if len(list) == 0 {
		return nil, domain.Fieldf("grant", "no capability given").
			WithHint("a workload can do nothing without one: --grant secret:read:stripe/*")
	}
	if len(list) > MaxCapabilities {
		return nil, domain.Fieldf("grant", "%d capabilities are more than %d", len(list), MaxCapabilities)
	}
	out := make([]Capability, 0, len(list))
	for _, s := range list {
		c, err := ParseCapability(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}

// String is the text form.
func (c Capability) String() string {
	if c.class == "" {
		return ""
	}
	return string(c.class) + ":" + c.pattern
}

// MarshalText writes the text form.
func (c Capability) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form.
func (c *Capability) UnmarshalText(b []byte) error {
	parsed, err := ParseCapability(string(b))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

func validPattern(p string) bool {
	plain := strings.Split(p, "/")
	for i, seg := range plain {
		if seg == "*" {
			plain[i] = "x"
		}
	}
	_, err := domain.ParseSecretPath(strings.Join(plain, "/"))
	return err == nil
}

// matches says whether the pattern allows the path.
func matches(pattern, path string) bool {
	for {
		seg, rest, more := strings.Cut(pattern, "/")
		got, pathRest, pathMore := strings.Cut(path, "/")
		switch {
		case got == "":
			return false
		case seg == "*" && !more:
			return true
		case seg != "*" && seg != got:
			return false
		case more != pathMore:
			return false
		case !more:
			return true
		}
		pattern, path = rest, pathRest
	}
}

// reaches says whether some path under prefix ("" or ending in a slash) can
// match the pattern: whether listing there can show anything.
func reaches(pattern, prefix string) bool {
	for prefix != "" {
		seg, rest, more := strings.Cut(pattern, "/")
		got, prefixRest, _ := strings.Cut(prefix, "/")
		switch {
		case seg == "*" && !more:
			return true
		case seg != "*" && seg != got:
			return false
		case !more:
			return false
		}
		pattern, prefix = rest, prefixRest
	}
	return true
}

// covers says whether every path that b matches is matched by a.
func covers(a, b string) bool {
	for {
		as, aRest, aMore := strings.Cut(a, "/")
		bs, bRest, bMore := strings.Cut(b, "/")
		switch {
		case as == "*" && !aMore:
			return true
		case bs == "*" && !bMore: // any number of segments, but a is not open-ended here
			return false
		case as != "*" && as != bs:
			return false
		case aMore != bMore:
			return false
		case !aMore:
			return true
		}
		a, b = aRest, bRest
	}
}

// Covers says whether c allows everything that d allows.
func (c Capability) Covers(d Capability) bool {
	switch {
	case c.class == "" || c.class != d.class:
		return false
	case c.class == capSQL:
		return sqlLevels[domain.Role(c.pattern)] >= sqlLevels[domain.Role(d.pattern)]
	}
	return covers(c.pattern, d.pattern)
}

// SQLLevel is what may be done inside the tenant's database.
type SQLLevel int

// The levels, each including those before it.
const (
	SQLNone SQLLevel = iota
	SQLRead
	SQLReadWrite
)

var sqlLevels = map[domain.Role]SQLLevel{
	domain.Analyst: SQLRead, domain.Admin: SQLReadWrite, domain.Owner: SQLReadWrite,
}
