package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
)

// ActionInfo is one action with who may do it.
type ActionInfo struct {
	Action   domain.Action `json:"action"`
	Meaning  string        `json:"meaning"`
	Scope    authz.Scope   `json:"scope"`
	Resource string        `json:"resource,omitempty"`
	Changes  bool          `json:"changes"`
	Roles    []domain.Role `json:"roles"`
	Own      []domain.Role `json:"own_only,omitempty"`
	Cap      string        `json:"capability,omitempty"`
	Asks     []string      `json:"asks,omitempty"` // of how the caller proved who it is
}

// ActionListOut is the table of actions.
type ActionListOut struct {
	Actions []ActionInfo `json:"actions"`
}

// ActionList lists the actions.
var ActionList = Operation[Nothing, ActionListOut]{
	action: authz.ActionList,
	ask:    askNothing,
	act: func(context.Context, *call, Nothing) (ActionListOut, error) {
		return ActionListOut{Actions: ActionTable()}, nil
	},
}

// ActionTable is the table of actions as surfaces and documents show it.
func ActionTable() []ActionInfo {
	var out []ActionInfo
	for _, i := range authz.Actions() {
		out = append(out, ActionInfo{
			Action: i.Action, Meaning: i.Meaning, Scope: i.Scope, Resource: i.Resource,
			Changes: i.Changes, Roles: append([]domain.Role{}, i.Roles...), Own: i.Own, Cap: string(i.Cap), Asks: asks(i),
		})
	}
	return out
}

// asks says in words what an action asks of the proof of who asks.
func asks(i authz.Info) (out []string) {
	add := func(when bool, what string) {
		if when {
			out = append(out, what)
		}
	}
	add(i.Stranger, "no credential")
	add(i.Person, "a person, no token")
	add(i.Socket, "the local socket")
	add(i.StepUp && !i.Always, "with a session: second factor")
	add(i.StepUp && i.Always, "second factor, if there is one")
	return out
}

// RoleInfo is one role with what it may do.
type RoleInfo struct {
	Role      domain.Role     `json:"role"`
	Appliance bool            `json:"appliance"` // holds on the whole appliance
	Actions   []domain.Action `json:"actions"`
	Own       []domain.Action `json:"own_only,omitempty"`
}

// RoleListOut is the table of roles.
type RoleListOut struct {
	Roles []RoleInfo `json:"roles"`
}

// RoleList lists the roles.
var RoleList = Operation[Nothing, RoleListOut]{
	action: authz.RoleList,
	ask:    askNothing,
	act: func(context.Context, *call, Nothing) (out RoleListOut, _ error) {
		for _, r := range domain.TenantRoles() {
			out.Roles = append(out.Roles, roleInfo(r, false))
		}
		for _, r := range domain.ApplianceRoles() {
			out.Roles = append(out.Roles, roleInfo(r, true))
		}
		return out, nil
	},
}

func roleInfo(r domain.Role, appliance bool) RoleInfo {
	out := RoleInfo{Role: r, Appliance: appliance, Actions: []domain.Action{}}
	for _, i := range authz.Actions() {
		if i.Permits(r) {
			out.Actions = append(out.Actions, i.Action)
		}
		if i.PermitsOwn(r) {
			out.Own = append(out.Own, i.Action)
		}
	}
	return out
}
