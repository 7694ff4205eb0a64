package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"coffer/app/actions"
	"coffer/app/domain"
)

// eventViews makes the sentences of events. An intent whose outcome is among
// them is left out: the outcome says the same and how it ended.
func (r *request) eventViews(events []actions.Event) ([]eventView, error) {
	var ids []string
	ended := map[uint64]bool{}
	for _, e := range events {
		ids = append(ids, e.Actor, "person:"+detailText(e.Detail, "member"), "person:"+detailText(e.Detail, "person"), detailText(e.Detail, "by"), detailText(e.Detail, "owner"))
		if e.Intent != nil {
			ended[*e.Intent] = true
		}
	}
	names, err := r.service.Names(r.ctx, r.tenant, ids)
	if err != nil {
		return nil, err
	}
	var out []eventView
	for _, e := range events {
		if e.Type == "intent" && ended[e.Seq] {
			continue
		}
		out = append(out, r.eventView(e, names))
	}
	return out, nil
}

func (r *request) eventView(e actions.Event, names map[string]string) eventView {
	v := eventView{
		Seq: e.Seq, Time: e.Time, RequestID: e.RequestID, Source: e.Source, Client: e.Client, Auth: e.Auth,
		Receipt: strconv.FormatUint(e.Seq, 10) + ":" + e.Leaf, Words: wordsOf(e, names), Tone: toneOf(e),
		Details: detailPairs(e.Detail),
	}
	raw, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		raw = fmt.Append(nil, err)
	}
	v.Raw = string(raw)
	return v
}

// toneOf says in a word and a picture how an event ended.
func toneOf(e actions.Event) status {
	switch e.Outcome {
	case "ok":
		return status{"done", "check", "good"}
	case "refused":
		return status{"refused", "hand", "warn"}
	case "failed":
		return status{"failed", "cross", "bad"}
	case "unknown":
		return status{"unknown", "help", "warn"}
	}
	if e.Type == "intent" {
		return status{"begun", "dot", "plain"}
	}
	return status{"log", "log", "plain"}
}

// named is the name of who acted, or the id if there is no name any more.
func named(names map[string]string, actor string) string {
	if name := names[actor]; name != "" {
		return name
	}
	switch actor {
	case "":
		return "Coffer"
	case domain.SystemPrincipal.String():
		return "Coffer itself"
	}
	return actor
}

// detailText is a text in an event's detail, "" if there is none.
func detailText(detail json.RawMessage, name string) string {
	var m map[string]any
	if json.Unmarshal(detail, &m) != nil {
		return ""
	}
	switch v := m[name].(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// detailPairs are the parts of a detail, by name.
func detailPairs(detail json.RawMessage) (out []pair) {
	var m map[string]json.RawMessage
	if json.Unmarshal(detail, &m) != nil {
		return nil
	}
	for name, raw := range m {
		text := string(raw)
		if len(raw) > 0 && raw[0] == '"' {
			_ = json.Unmarshal(raw, &text)
		} else if len(raw) > 0 && raw[0] == '[' {
			text = listText(raw)
		}
		out = append(out, pair{name, text})
	}
	slices.SortFunc(out, func(a, b pair) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}

func listText(raw json.RawMessage) string {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return string(raw)
	}
	var b bytes.Buffer
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
	}
	return b.String()
}
