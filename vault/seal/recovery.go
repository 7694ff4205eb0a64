package seal

import (
	"context"
	"encoding/json"

	"coffer/app/domain"
)

var _ = register(spec{kind: Recovery, rank: 0, attended: true, check: checkRecovery, describe: describeRecovery})

// recoveryParams has no fields: the key is random and needs no stretching.
type recoveryParams struct{}

type recoveryProtector struct{ key RecoveryKey }

// NewRecovery protects with the printed recovery key. Enrol it only after the
// person has proved to hold it (RecoveryKey.Confirm), so that a recovery slot
// in the file means that the key is on paper. k must stay intact while the
// protector is in use.
func NewRecovery(k RecoveryKey) (Protector, error) {
	if k.raw.secret().Len() != recoveryRaw {
		return nil, domain.Fieldf("recovery key", "missing")
	}
	return &recoveryProtector{k}, nil
}

func (*recoveryProtector) Kind() Kind { return Recovery }

// enrol uses the key itself, which has 256 bits; each slot's salt makes the
// key that wraps differ.
func (r *recoveryProtector) enrol(context.Context, []byte) (any, domain.Secret, error) {
	return recoveryParams{}, r.slotKey(), nil
}

func (r *recoveryProtector) open(context.Context, []byte, json.RawMessage) (domain.Secret, error) {
	return r.slotKey(), nil
}

// slotKey is a copy, because slot keys are overwritten after use.
func (r *recoveryProtector) slotKey() domain.Secret {
	return domain.NewSecret(append([]byte(nil), r.key.raw.secret().Reveal()...))
}

func (*recoveryProtector) refusal() *domain.Error {
	return domain.Errorf(domain.Unauthentic, "this recovery key does not open: it is well-formed, but belongs to another appliance or was replaced").
		WithHint("look at the date on the page: coffer seal status lists when the valid one was made")
}

func checkRecovery(raw json.RawMessage) error {
	_, err := strict[recoveryParams](raw)
	return err
}

func describeRecovery(json.RawMessage) (detail, warning string) {
	return "printed key, 256 bits", ""
}
