package token

import (
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

const (
	bucketDoomed  = "token-doomed"  // tenant NUL accessor of a revoked token that has children left → nothing
	bucketCutoffs = "token-cutoffs" // tenant NUL principal's id, or nothing for all → 8 bytes: what was issued until then is void
)

// TreeMost is how many tokens of a tree one transaction removes. The others are
// dead from then on too, and a sweep removes them.
const TreeMost = 500

// Revoke ends a token and its tree for good. It gives the accessors of those
// that it removed.
func Revoke(tx *store.Tx, t Token) (gone []string, err error) {
	if _, err := remove(tx, accessorKey(t.Tenant, t.Accessor)); err != nil {
		return nil, err
	}
	children, err := prune(tx, t.Tenant, []string{t.Accessor}, TreeMost)
	return append([]string{t.Accessor}, children...), err
}

// prune removes at most limit of the descendants of tokens that were removed. A
// row remembers those whose children are not all gone.
func prune(tx *store.Tx, tenant domain.TenantID, parents []string, limit int) (gone []string, err error) {
	for len(parents) > 0 && len(gone) < limit {
		parent := parents[len(parents)-1]
		children, err := childrenOf(tx, tenant, parent, limit-len(gone))
		if err != nil {
			return gone, err
		}
		if len(children) == 0 {
			parents = parents[:len(parents)-1]
			continue
		}
		for _, child := range children {
			if _, err := remove(tx, accessorKey(tenant, child)); err != nil {
				return gone, err
			}
		}
		gone, parents = append(gone, children...), append(parents, children...)
	}
	for _, parent := range parents {
		left, err := childrenOf(tx, tenant, parent, 1)
		if err == nil && len(left) > 0 {
			err = tx.Put(bucketDoomed, accessorKey(tenant, parent), nil)
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// childrenOf gives at most limit children of a token, live or not.
func childrenOf(tx *store.Tx, tenant domain.TenantID, parent string, limit int) (children []string, err error) {
	prefix := childKey(tenant, parent, "")
	err = tx.Keys(bucketChildren, prefix, nil, func(key []byte) error {
		children = append(children, string(key[len(prefix):]))
		if len(children) >= limit {
			return store.ErrStop
		}
		return nil
	})
	return children, err
}

// sweepDoomed goes on removing trees of which a transaction removed a part.
func sweepDoomed(tx *store.Tx, limit int) (int, error) {
	n := 0
	for n < limit {
		var key []byte
		if err := tx.Keys(bucketDoomed, nil, nil, func(k []byte) error {
			key = k
			return store.ErrStop
		}); err != nil || key == nil {
			return n, err
		}
		tenant, accessor := splitKey(key)
		if err := tx.Delete(bucketDoomed, key); err != nil {
			return n, err
		}
		gone, err := prune(tx, tenant, []string{accessor}, limit-n)
		if err != nil {
			return n, err
		}
		n += len(gone)
	}
	return n, nil
}

func splitKey(key []byte) (domain.TenantID, string) {
	for i, c := range key {
		if c == 0 {
			return domain.TenantID(key[:i]), string(key[i+1:])
		}
	}
	return domain.TenantID(key), ""
}

// MaxOrphans is how many children a token may have for RevokeAlone.
const MaxOrphans = 1000

// RevokeAlone ends a token and lets its children live on without a parent. They
// end when they would have.
func RevokeAlone(tx *store.Tx, t Token) error {
	children, err := childrenOf(tx, t.Tenant, t.Accessor, MaxOrphans+1)
	if err != nil {
		return err
	}
	if len(children) > MaxOrphans {
		return domain.Errorf(domain.Limit, "the token has more than %d children", MaxOrphans).
			WithHint("revoke it with its tree")
	}
	for _, child := range children {
		if err := orphan(tx, t.Tenant, t.Accessor, child); err != nil {
			return err
		}
	}
	_, err = remove(tx, accessorKey(t.Tenant, t.Accessor))
	return err
}

func orphan(tx *store.Tx, tenant domain.TenantID, parent, child string) error {
	hash, err := tx.Get(bucketAccessors, accessorKey(tenant, child))
	if err != nil {
		return err
	}
	t, err := led(tx, hash)
	if err != nil {
		return err
	}
	t.Parent, t.Depth = "", 0 // those below keep a depth that is too large, which only bounds them
	return errors.Join(put(tx, hash, t), tx.Delete(bucketChildren, childKey(tenant, parent, child)))
}

// RevokeWhere ends every token of a tenant, live or not, that the function
// picks, with its tree, and says how many it removed.
func RevokeWhere(tx *store.Tx, tenant domain.TenantID, pick func(Token) bool) (int, error) {
	var doomed [][]byte
	err := each(tx, accessorKey(tenant, ""), func(key []byte, t Token) error {
		if pick(t) {
			doomed = append(doomed, key)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, key := range doomed {
		t, err := remove(tx, key)
		if errors.Is(err, store.ErrNotFound) { // with its parent
			continue
		}
		if err != nil {
			return n, err
		}
		gone, err := prune(tx, tenant, []string{t.Accessor}, TreeMost)
		if err != nil {
			return n, err
		}
		n += 1 + len(gone)
	}
	return n, nil
}

// CutOff ends every token of a principal that was issued until now, every token
// of the tenant for "": with one row, however many there are.
func CutOff(tx *store.Tx, tenant domain.TenantID, principal string, now time.Time) error {
	return tx.Put(bucketCutoffs, accessorKey(tenant, principal), timeKey(now))
}

// cutOff says whether the token was issued before everything of its principal,
// of its maker or of its tenant was revoked.
func (t Token) cutOff(tx *store.Tx) (bool, error) {
	issued := string(timeKey(t.Issued))
	for i, whose := range [...]string{"", t.Principal.ID, t.IssuedBy} {
		if i > 0 && whose == "" || i == 2 && whose == t.Principal.ID {
			continue
		}
		b, err := tx.Get(bucketCutoffs, accessorKey(t.Tenant, whose))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if err == nil && issued <= string(b) {
			return true, nil
		}
	}
	return false, nil
}

// forgets says until which cut-offs can be forgotten: no token that they end can
// still live before the time.
func forgets(before time.Time) string { return string(timeKey(before.Add(-domain.MaxTTL))) }

// sweepCutoffs forgets those before which no token is left.
func sweepCutoffs(tx *store.Tx, before time.Time, limit int) error {
	bound, n := forgets(before), 0
	return tx.Scan(bucketCutoffs, nil, nil, func(key, value []byte) error {
		if string(value) >= bound {
			return nil
		}
		if n++; n > limit {
			return store.ErrStop
		}
		return tx.Delete(bucketCutoffs, key)
	})
}
