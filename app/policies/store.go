package policies

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
)

// MaxPolicies is how many a tenant has at most.
const MaxPolicies = 256

// The buckets, both with the key tenant NUL name: the record, and the SHA-256 of
// name and text, by which what was compiled is found without reading the text.
const (
	bucketPolicies = "policies"
	bucketMarks    = "policy-marks"
)

const recordVersion = 1

// Policy is a stored policy.
type Policy struct {
	Name     string    `json:"name"`
	Text     string    `json:"text"`
	Revision int       `json:"revision"` // counted from 1, whenever it is written
	By       string    `json:"by"`       // id of who wrote it last
	Changed  time.Time `json:"changed"`
}

type record struct {
	Version int `json:"version"`
	Policy
}

// ErrNoPolicy is about a policy that is not there.
var ErrNoPolicy = domain.Errorf(domain.NotFound, "there is no such policy").WithHint("see: coffer policy list")

func key(tenant domain.TenantID, name string) []byte { return []byte(string(tenant) + "\x00" + name) }

// BuiltIn says whether a name is that of a role or of the default policy, which
// nobody writes.
func BuiltIn(name string) bool {
	return name == authz.DefaultPolicy || name == "root" || slices.Contains(domain.TenantRoles(), domain.Role(name)) ||
		slices.Contains(domain.ApplianceRoles(), domain.Role(name))
}

// Find reads a policy.
func Find(tx *store.Tx, tenant domain.TenantID, name string) (Policy, error) {
	if _, err := domain.ParseName("name", name); err != nil {
		return Policy{}, ErrNoPolicy // the store has no such keys
	}
	b, err := tx.Get(bucketPolicies, key(tenant, name))
	if errors.Is(err, store.ErrNotFound) {
		return Policy{}, ErrNoPolicy
	}
	if err != nil {
		return Policy{}, err
	}
	return decode(b)
}

func decode(b []byte) (Policy, error) {
	const what = "a policy"
	var r record
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return Policy{}, err
	}
	if _, err := Parse(r.Name, r.Text); err != nil || r.Revision < 1 {
		return Policy{}, store.MalformedRecord(what, errors.Join(err, errors.New("its text or revision cannot be")))
	}
	return r.Policy, nil
}

// Save puts a policy in place of the one with its name, if there is one.
func Save(tx *store.Tx, tenant domain.TenantID, p Policy) (Policy, error) {
	if _, err := domain.ParseName("name", p.Name); err != nil {
		return p, err
	}
	if BuiltIn(p.Name) {
		return p, ErrBuiltIn
	}
	if _, err := Parse(p.Name, p.Text); err != nil {
		return p, err
	}
	switch old, err := Find(tx, tenant, p.Name); {
	case err == nil:
		p.Revision = old.Revision + 1
	case !errors.Is(err, ErrNoPolicy):
		return p, err
	default:
		n, err := tx.Count(bucketPolicies, key(tenant, ""))
		if err != nil {
			return p, err
		}
		if n >= MaxPolicies {
			return p, domain.Errorf(domain.Limit, "%d policies are the most that a tenant has", n).WithHint("remove some: coffer policy remove")
		}
		p.Revision = 1
	}
	b, err := json.Marshal(record{recordVersion, p})
	if err != nil {
		return p, err
	}
	mark := sha256.Sum256([]byte(p.Name + "\x00" + p.Text))
	return p, errors.Join(tx.Put(bucketPolicies, key(tenant, p.Name), b), tx.Put(bucketMarks, key(tenant, p.Name), mark[:]))
}

// ErrBuiltIn is about the policies that Coffer has by itself.
var ErrBuiltIn = domain.Fieldf("name", "the policies of that name say what a role may do, or what everybody may, and are read-only").
	WithHint("choose another name")

// Remove removes a policy. Who holds its name loses at once what it gave.
func Remove(tx *store.Tx, tenant domain.TenantID, name string) (Policy, error) {
	p, err := Find(tx, tenant, name)
	if err != nil {
		return p, err
	}
	return p, errors.Join(tx.Delete(bucketPolicies, key(tenant, name)), tx.Delete(bucketMarks, key(tenant, name)))
}

// Each calls fn with the policies of a tenant by name, from the one after `after`
// on, until it returns store.ErrStop.
func Each(tx *store.Tx, tenant domain.TenantID, after string, fn func(Policy) error) error {
	var start []byte
	if after != "" {
		start = key(tenant, after)
	}
	return tx.Scan(bucketPolicies, key(tenant, ""), start, func(_, value []byte) error {
		p, err := decode(value)
		if err != nil {
			return err
		}
		return fn(p)
	})
}

// RemoveTenant removes everything of a tenant that is destroyed.
func RemoveTenant(tx *store.Tx, tenant domain.TenantID) error {
	var names [][]byte
	err := tx.Keys(bucketPolicies, key(tenant, ""), nil, func(k []byte) error {
		names = append(names, slices.Clone(k))
		return nil
	})
	for _, k := range names {
		err = errors.Join(err, tx.Delete(bucketPolicies, k), tx.Delete(bucketMarks, k))
	}
	return err
}

// Resolve gives the layer with what its policies say now; another layer stays as it
// is. A name of which there is no policy gives nothing.
func Resolve(tx *store.Tx, tenant domain.TenantID, l authz.Layer) (authz.Layer, error) {
	if len(l.Policies) == 0 {
		return l, nil
	}
	names := slices.Compact(slices.Sorted(slices.Values(l.Policies)))
	var held []string
	known := sha256.New()
	for _, name := range names {
		mark, err := tx.Get(bucketMarks, key(tenant, name))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return l, err
		}
		held = append(held, name)
		known.Write(mark)
	}
	acl, err := store.Remember(tx, known.Sum(nil), func([]byte) (*authz.ACL, error) { return compile(tx, tenant, held) })
	l.ACL = acl
	return l, err
}

// ResolveAll is Resolve for several.
func ResolveAll(tx *store.Tx, tenant domain.TenantID, layers []authz.Layer) ([]authz.Layer, error) {
	out := make([]authz.Layer, 0, len(layers))
	for _, l := range layers {
		l, err := Resolve(tx, tenant, l)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func compile(tx *store.Tx, tenant domain.TenantID, names []string) (*authz.ACL, error) {
	var rules []authz.Rule
	for _, name := range names {
		p, err := Find(tx, tenant, name)
		if err != nil {
			return nil, err
		}
		more, err := Parse(p.Name, p.Text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	return authz.CompileACL(rules), nil
}

// Check refuses names that a layer cannot have: too many, and such of which there
// is no policy.
func Check(tx *store.Tx, tenant domain.TenantID, names []string) error {
	for _, name := range names {
		if BuiltIn(name) {
			return domain.Fieldf("policies", "%s is a role and stands alone: give it as the role, not among policies", name)
		}
		if _, err := Find(tx, tenant, name); err != nil {
			if errors.Is(err, ErrNoPolicy) {
				return domain.Fieldf("policies", "there is no policy %.64q", name).WithHint("write it first: coffer policy put")
			}
			return err
		}
	}
	return nil
}

// ParseNames checks the form of a list of names, and drops repetitions.
func ParseNames(names []string) ([]string, error) {
	if len(names) > authz.MaxPolicies {
		return nil, domain.Fieldf("policies", "%d policies are more than %d", len(names), authz.MaxPolicies)
	}
	var out []string
	for _, name := range names {
		if _, err := domain.ParseName("policies", name); err != nil {
			return nil, err
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
