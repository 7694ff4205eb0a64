package actions

import (
	"context"
	"strings"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// StepUpIn is a code of the second factor.
type StepUpIn struct {
	Code domain.Secret `json:"code"`
}

// Fresh is until when the proof counts.
type Fresh struct {
	Fresh time.Time `json:"fresh"`
}

// StepUp proves the second factor again with a code.
var StepUp = Operation[StepUpIn, Fresh]{
	action: authz.SessionStepUp,
	ask:    func(context.Context, *Service, StepUpIn) (authz.Request, error) { return authz.Request{}, nil },
	act: func(ctx context.Context, c *call, in StepUpIn) (Fresh, error) {
		if _, err := c.session(); err != nil {
			return Fresh{}, err
		}
		spent, err := c.checkCode(ctx, c.who.Subject.Principal.ID, in.Code)
		if err != nil {
			return Fresh{}, err
		}
		c.detail["method"] = spent.Method
		return c.refresh(ctx, spent.Spend)
	},
}

// refresh records a proof of the second factor in the caller's session.
func (c *call) refresh(ctx context.Context, spend func(*store.Tx) error) (out Fresh, err error) {
	err = c.change(ctx, func(tx *store.Tx) error {
		if err := spend(tx); err != nil {
			return err
		}
		out.Fresh, err = c.fresh(tx)
		return err
	})
	return out, err
}

// fresh marks the caller's session as proven just now; at the socket there is
// none to mark.
func (c *call) fresh(tx *store.Tx) (until time.Time, err error) {
	who, now := c.who.Subject, c.clock.Now()
	if who.Session == "" {
		return until, nil
	}
	s, found, err := directory.SessionByAccessor(tx, who.Principal.ID, who.Session, now)
	if err != nil {
		return until, err
	}
	if !found {
		return until, authn.ErrSession
	}
	s.Fresh = now.Add(authn.FreshFor).UTC()
	return s.Fresh, directory.PutSession(tx, s)
}

// SessionsEnded says how many sessions ended.
type SessionsEnded struct {
	Sessions int `json:"sessions_ended"`
}

// SignOut ends the caller's session.
var SignOut = Operation[Nothing, SessionsEnded]{
	action: authz.SessionEndOwn,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (SessionsEnded, error) {
		accessor, err := c.session()
		if err != nil {
			return SessionsEnded{}, err
		}
		return c.endSession(ctx, accessor)
	},
}

// SessionRef names a session of the caller.
type SessionRef struct {
	Accessor string `path:"accessor" json:"-"`
}

// SessionEnd ends one of the caller's sessions.
var SessionEnd = Operation[SessionRef, SessionsEnded]{
	action: authz.SessionEnd,
	ask: func(_ context.Context, _ *Service, in SessionRef) (authz.Request, error) {
		_, err := parseRef("accessor", in.Accessor, directory.SessionAccessorPrefix)
		return authz.Request{Resource: in.Accessor}, err
	},
	act: func(ctx context.Context, c *call, in SessionRef) (SessionsEnded, error) {
		return c.endSession(ctx, in.Accessor)
	},
}

// parseRef reads an id that will stand in the log: a secret that somebody puts
// here must not.
func parseRef(field, id, prefix string) (string, error) {
	if _, err := domain.ParseName(field, strings.ToLower(id)); err != nil || !strings.HasPrefix(id, prefix) {
		return "", domain.Fieldf(field, "not an id such as %s…", prefix)
	}
	return id, nil
}

func (c *call) endSession(ctx context.Context, accessor string) (out SessionsEnded, err error) {
	c.detail["session"] = accessor
	err = c.change(ctx, func(tx *store.Tx) error {
		s, found, err := directory.SessionByAccessor(tx, c.who.Subject.Principal.ID, accessor, c.clock.Now())
		if err != nil {
			return err
		}
		if !found {
			return domain.Errorf(domain.NotFound, "you have no live session with that accessor").WithHint("see: coffer session list")
		}
		out.Sessions = 1
		return directory.EndSession(tx, s)
	})
	return out, err
}

// SessionEndAll ends all sessions of the caller, this one too.
var SessionEndAll = Operation[Nothing, SessionsEnded]{
	action: authz.SessionEndAll,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (out SessionsEnded, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			out.Sessions, err = directory.EndSessions(tx, c.who.Subject.Principal.ID, "", c.clock.Now())
			return err
		})
		c.detail["sessions"] = out.Sessions
		return out, err
	},
}

// SessionInfo is what can be shown of a session.
type SessionInfo struct {
	Accessor string    `json:"accessor"`
	Created  time.Time `json:"created"`
	Seen     time.Time `json:"seen"`
	Expires  time.Time `json:"expires"`
	Source   string    `json:"source"`
	Client   string    `json:"client"`
	Current  bool      `json:"current"`
}

// SessionListOut is the caller's live sessions, the newest first.
type SessionListOut struct {
	Sessions []SessionInfo `json:"sessions"`
}

// SessionList lists the caller's sessions.
var SessionList = Operation[Nothing, SessionListOut]{
	action: authz.SessionList,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (SessionListOut, error) {
		out := SessionListOut{Sessions: []SessionInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			all, err := directory.Sessions(tx, c.who.Subject.Principal.ID, c.clock.Now())
			for _, s := range all {
				out.Sessions = append(out.Sessions, SessionInfo{
					Accessor: s.Accessor, Created: s.Created, Seen: s.Seen, Expires: s.Ends(), Source: s.Source, Client: s.Client,
					Current: s.Accessor == c.who.Subject.Session,
				})
			}
			return err
		})
		c.detail["count"] = len(out.Sessions)
		return out, err
	},
}
