package vaultapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/domain"
	"coffer/app/httpd"
)

// reply is a successful answer. One with nothing in it has status 204.
type reply struct {
	status   int    // 0 for 200, or for 204 if there is nothing to say
	data     any    // an object, nil for none
	top      bool   // the members of data also stand beside it, for old clients
	flat     any    // in place of the whole envelope
	auth     *auth  // a token
	lease    *lease // what ends
	wrapped  *wrapInfo
	warnings []string
}

// auth is a token with what clients look at. All of it is always there.
type auth struct {
	ClientToken      domain.Disclosure `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	LeaseDuration    int64             `json:"lease_duration"` // seconds
	Renewable        bool              `json:"renewable"`
	EntityID         string            `json:"entity_id"`
	TokenType        string            `json:"token_type"`
	Orphan           bool              `json:"orphan"`
	MFARequirement   any               `json:"mfa_requirement"`
	NumUses          int               `json:"num_uses"`
}

// lease says when what was given ends.
type lease struct {
	ID        string
	Renewable bool
	Duration  time.Duration
}

// wrapInfo stands for an answer that was wrapped.
type wrapInfo struct {
	Token           domain.Disclosure `json:"token"`
	Accessor        string            `json:"accessor"`
	TTL             int64             `json:"ttl"` // seconds
	CreationTime    time.Time         `json:"creation_time"`
	CreationPath    string            `json:"creation_path"`
	WrappedAccessor string            `json:"wrapped_accessor,omitempty"`
}

// envelope is around every answer that is not flat. All members are always there:
// scripts read them without asking.
type envelope struct {
	RequestID     string    `json:"request_id"`
	LeaseID       string    `json:"lease_id"`
	Renewable     bool      `json:"renewable"`
	LeaseDuration int64     `json:"lease_duration"`
	Data          any       `json:"data"`
	WrapInfo      *wrapInfo `json:"wrap_info"`
	Warnings      []string  `json:"warnings"`
	Auth          *auth     `json:"auth"`
}

func (p *reply) envelope(requestID string) envelope {
	e := envelope{RequestID: requestID, Data: p.data, WrapInfo: p.wrapped, Warnings: p.warnings, Auth: p.auth}
	if p.wrapped != nil {
		e.RequestID = "" // that of what is wrapped stands inside
	}
	if l := p.lease; l != nil {
		e.LeaseID, e.Renewable, e.LeaseDuration = l.ID, l.Renewable, seconds(l.Duration)
	}
	return e
}

// seconds rounds up: what lasts a moment longer has not ended.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// body is the answer in JSON, nil for none.
func (p *reply) body(requestID string) ([]byte, error) {
	switch {
	case p.flat != nil:
		return json.Marshal(p.flat)
	case p.data == nil && p.auth == nil && p.lease == nil && p.wrapped == nil && len(p.warnings) == 0:
		return nil, nil
	}
	out, err := json.Marshal(p.envelope(requestID))
	if err != nil || !p.top {
		return out, err
	}
	return withTop(out, p.data)
}

// withTop adds the members of data that the envelope has no others of that name for.
func withTop(envelope []byte, data any) ([]byte, error) {
	inner, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	var all, more map[string]json.RawMessage
	if err := json.Unmarshal(envelope, &all); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(inner, &more); err != nil {
		return nil, err
	}
	for name, raw := range more {
		if _, taken := all[name]; !taken {
			all[name] = raw
		}
	}
	return json.Marshal(all)
}

// send answers a request.
func (p *reply) send(c *fiber.Ctx) error {
	id := httpd.RequestID(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	body, err := p.body(id)
	if err != nil {
		return err
	}
	status := p.status
	switch {
	case status == 0 && body == nil:
		status = http.StatusNoContent
	case status == 0:
		status = http.StatusOK
	}
	c.Status(status)
	if body == nil {
		return nil
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}
