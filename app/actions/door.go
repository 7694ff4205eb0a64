package actions

import (
	"context"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// Door says how people come in over the network.
type Door struct {
	UID    uint32           // the local user that runs the appliance
	Origin string           // under which browsers reach it, https://name:port; "" for not at all
	Wall   func() time.Time // the wall clock, by which apps show codes; nil for the machine's
}

// door is what signing in needs besides the stores.
type door struct {
	uid       uint32
	origin    string
	wall      func() time.Time
	passwords *authn.Passwords
	guesses   *authn.Guesses
	passkeys  *authn.Passkeys
	enrolling *authn.Waiting[domain.Secret] // by person: the secret of an app that was shown
}

// How long the secret of an app waits for its first code, and how many wait.
const (
	enrolFor     = 15 * time.Minute
	mostEnrolled = 1024
)

func newDoor(d Door, clock Clock) *door {
	if d.Wall == nil {
		d.Wall = time.Now
	}
	return &door{
		uid: d.UID, origin: d.Origin, wall: d.Wall, passwords: authn.NewPasswords(), guesses: authn.NewGuesses(),
		passkeys: authn.NewPasskeys(d.Origin, clock.Now), enrolling: authn.NewWaiting[domain.Secret](mostEnrolled, enrolFor, clock.Now),
	}
}

// Passkeys is nil where passkeys work, else why they do not.
func (s *Service) Passkeys() error { return s.door.passkeys.Available() }

// checkProof asks for another proof of the second factor where the action wants
// one, and takes the code that came with the request for it. The refusal of a
// code is logged like any other.
func (s *Service) checkProof(ctx context.Context, who Caller, r authz.Request) error {
	factor := false
	if who.Subject.AtSocket() && authz.AsksSocket(r.Action) {
		var err error
		if factor, err = s.hasFactor(ctx, who.Subject.Principal.ID); err != nil {
			return err
		}
	}
	err := authz.Prove(who.Subject, r, factor, s.clock.Now())
	if domain.KindOf(err) != domain.StepUp || who.Code.Len() == 0 {
		return err
	}
	denied, _ := err.(*authz.Denied) //nolint:errorlint // Prove gives it itself
	spent, err := s.checkCode(ctx, who.Subject.Principal.ID, who.Code)
	if err == nil {
		_, err = s.db.Update(ctx, spent.Spend)
	}
	switch kind := domain.KindOf(err); {
	case err == nil:
		return nil
	case kind == domain.Denied:
		return denied.Because(domain.Errorf(domain.StepUp, "%s", err.Error()).WithHint("%s", domain.HintOf(err)))
	case kind == domain.Limit:
		return denied.Because(domain.Errorf(domain.Limit, "%s", err.Error()).WithHint("%s", domain.HintOf(err)))
	}
	return err
}

func (s *Service) hasFactor(ctx context.Context, person string) (has bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		a, err := directory.FindAccount(tx, person)
		if err == nil {
			has, err = directory.HasFactor(tx, a)
		}
		return err
	})
	return has, err
}

// checkCode looks at a code of somebody who is known already. Wrong ones are
// few, and then far between.
func (s *Service) checkCode(ctx context.Context, person string, code domain.Secret) (authn.Spent, error) {
	attempt, err := s.door.guesses.Code(person, s.clock.Now())
	if err != nil {
		return authn.Spent{}, err
	}
	var a directory.Account
	if err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		a, err = directory.FindAccount(tx, person)
		return err
	}); err != nil {
		return authn.Spent{}, err
	}
	spent, ok := authn.CheckCode(a, code, s.door.wall())
	if !ok {
		return spent, authn.ErrCode
	}
	attempt.Right()
	return spent, nil
}

// session is the caller's session, which somebody at the socket does not have.
func (c *call) session() (string, error) {
	if accessor := c.who.Subject.Session; accessor != "" {
		return accessor, nil
	}
	return "", domain.Errorf(domain.Conflict, "there is no session at the local socket").
		WithHint("give the code with the request that needs it: --code CODE")
}
