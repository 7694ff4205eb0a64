package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Shape of the model.
const (
	keptVersions = 10 // of a secret, as vault.MaxVersions
	pathsEach    = 4  // secrets that a client writes in one tenant
)

// place is a tenant as the clients know it.
type place struct {
	id    string
	state string // as the API says it; "" while it is not there
	table bool   // the table of rows is there
}

// holding is what one client has in one tenant, as far as it was acknowledged
// or the log said that it happened. No other client touches it, so that it is
// known exactly.
type holding struct {
	in        *place
	secrets   map[string][]*version // by path, from version 1 on
	rows      map[string]int        // tag → how many rows carry it
	tokens    []*heldToken
	workloads map[string]*heldWorkload
	touched   map[string]bool // paths since they were last verified
}

type version struct {
	value              string
	deleted, destroyed bool
}

// heldToken is a token. What the answer said of it is empty if the answer was
// lost.
type heldToken struct {
	name     string // the tag of the request; "" for a login
	text     string
	accessor string
	workload *heldWorkload // nil for a person's
	revoked  bool
	checked  bool // since it last changed
}

type heldWorkload struct {
	name, roleID, secretID string
	logins                 int // tokens from logins that were not revoked
	removed                bool
}

func newHolding(in *place) *holding {
	return &holding{
		in: in, secrets: map[string][]*version{}, rows: map[string]int{},
		workloads: map[string]*heldWorkload{}, touched: map[string]bool{},
	}
}

// kept is where the versions begin that are still there.
func kept(versions []*version) int { return max(0, len(versions)-keptVersions) }

// live gives the tokens with a known text that hold, or those that were revoked.
func (h *holding) known(revoked bool) []*heldToken {
	var out []*heldToken
	for _, t := range h.tokens {
		if t.text != "" && t.revoked == revoked {
			out = append(out, t)
		}
	}
	return out
}

// revoke ends a token in the model.
func (h *holding) revoke(t *heldToken) {
	t.revoked, t.checked = true, false
	if t.workload != nil {
		t.workload.logins--
	}
}

// remove ends a workload in the model, and its tokens with it.
func (h *holding) remove(w *heldWorkload) {
	w.removed = true
	for _, t := range h.tokens {
		if t.workload == w && !t.revoked {
			h.revoke(t)
		}
	}
}

// destroy ends everything in the model.
func (h *holding) destroy() {
	h.in.state = "destroyed"
	for _, t := range h.tokens {
		if !t.revoked {
			h.revoke(t)
		}
	}
}

// valueOf is the value that a tag's secret or row has: it can be recognized as
// right by whoever knows the tag alone. One in sixteen fills several pages.
func valueOf(tag string) string {
	sum := sha256.Sum256([]byte(tag))
	text := tag + " " + hex.EncodeToString(sum[:])
	if sum[0]%16 == 0 {
		text = strings.Repeat(text+" ", 1+int(sum[1]))
	}
	return text
}
