package actions

import (
	"context"
	"sync"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/vault/seal"
)

// Gate stands before the service. While the appliance is sealed it is closed:
// only Status and Unseal work, and nothing touches a tenant.
type Gate struct {
	file    *seal.File
	machine Machine
	open    func(ctx context.Context, root domain.Secret) (*Service, error)

	opening sync.Mutex // held while opening, so that two people do not

	mu      sync.Mutex // guards what follows, and is never held for long
	failed  int        // attempts since the start
	service *Service
}

// NewGate makes a closed gate. open builds the service from the root key, which
// it takes over.
func NewGate(file *seal.File, m Machine, open func(ctx context.Context, root domain.Secret) (*Service, error)) *Gate {
	return &Gate{file: file, machine: m, open: open}
}

// ErrSealed is what everything but status and unseal answers while sealed.
var ErrSealed = domain.Errorf(domain.Sealed, "Coffer is sealed").WithHint("open it with: coffer unseal")

// Service is the service behind the open gate, else ErrSealed.
func (g *Gate) Service() (*Service, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.service == nil {
		return nil, ErrSealed
	}
	return g.service, nil
}

// File is the seal file.
func (g *Gate) File() *seal.File { return g.file }

// Open opens the gate with a protector that needs no person. unlocked says that
// the root key was found, so that an error after it is about the data.
func (g *Gate) Open(ctx context.Context, p seal.Protector) (unlocked bool, err error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	_, unlocked, err = g.unlock(ctx, p)
	return unlocked, err
}

func (g *Gate) unlock(ctx context.Context, p seal.Protector) (seal.SlotStatus, bool, error) {
	root, slot, err := g.file.Unlock(ctx, p)
	if err != nil {
		return slot, false, err
	}
	service, err := g.open(ctx, root)
	if err == nil {
		g.mu.Lock()
		g.service = service
		g.mu.Unlock()
	}
	return slot, true, err
}

// SlotInfo is what can be shown of a key slot.
type SlotInfo struct {
	ID      string    `json:"id"`
	Kind    seal.Kind `json:"kind"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Detail  string    `json:"detail,omitempty"`
	Warning string    `json:"warning,omitempty"`
}

func slotInfo(s seal.SlotStatus) SlotInfo {
	return SlotInfo{ID: s.ID, Kind: s.Kind, Name: s.Name, Created: s.Created, Detail: s.Detail, Warning: s.Warning}
}

// SealState is whether the appliance is sealed, and by what.
type SealState struct {
	Sealed         bool       `json:"sealed"`
	Kind           seal.Kind  `json:"kind" doc:"the strongest slot"`
	Recovery       bool       `json:"recovery_key"`
	FailedAttempts int        `json:"failed_attempts" doc:"to unseal, since the start"`
	Slots          []SlotInfo `json:"slots"`
}

// Status says whether the appliance is sealed, and by what. It is answered
// sealed or not, and not logged: it shows nothing that the file system does not.
func (g *Gate) Status() SealState {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := SealState{
		Sealed: g.service == nil, Kind: g.file.Strongest(), Recovery: g.file.Has(seal.Recovery), FailedAttempts: g.failed,
		Slots: []SlotInfo{},
	}
	for _, s := range g.file.Status() {
		out.Slots = append(out.Slots, slotInfo(s))
	}
	return out
}

// UnsealIn is what opens a slot: a kind, and the secret for the kinds that need
// a person.
type UnsealIn struct {
	Kind   string        `json:"kind" doc:"kind of the slot" schema:"enum=tpm|passphrase|keyfile|recovery"`
	Secret domain.Secret `json:"secret,omitzero" doc:"what opens it, for the kinds that need a person"`
}

// Unseal opens the gate for a local user. The event, with the number of failed
// attempts before it, is the first of this boot that a person caused; until then
// there is no log that could be written.
func (g *Gate) Unseal(ctx context.Context, uid uint32, in UnsealIn, call audit.Call) (SealState, audit.Receipt, error) {
	kind, err := seal.ParseKind(in.Kind)
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	slot, err := g.unseal(ctx, kind, in.Secret)
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	service, err := g.Service()
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	subject, err := service.Socket(ctx, uid)
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	grant, err := authz.Authorize(subject, authz.Request{Action: authz.SealUnseal, Resource: slot.Name})
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	permit, err := service.log.Begin(ctx, grant, call)
	if err != nil {
		return SealState{}, audit.Receipt{}, err
	}
	out := g.Status()
	receipt, err := permit.Finish(ctx, audit.OK, audit.Detail{"kind": string(kind), "failed_attempts": out.FailedAttempts})
	return out, receipt, err
}

func (g *Gate) unseal(ctx context.Context, kind seal.Kind, secret domain.Secret) (seal.SlotStatus, error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	if _, err := g.Service(); err == nil {
		return seal.SlotStatus{}, domain.Errorf(domain.Conflict, "Coffer is open already").WithHint("see: coffer seal status")
	}
	p, err := g.machine.Protector(kind, secret, g.machine.KeyfileSource())
	if err == nil {
		var slot seal.SlotStatus
		var unlocked bool
		if slot, unlocked, err = g.unlock(ctx, p); err == nil || unlocked {
			return slot, err
		}
	}
	g.mu.Lock()
	g.failed++
	g.mu.Unlock()
	return seal.SlotStatus{}, err
}
