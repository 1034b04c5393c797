package historytest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// The models of what the API promises, each of one thing.
const (
	Account = "account" // an email address: who registers it first has it
	Session = "session" // of one idempotency key: made once, a register of its name until it is deleted
	Login   = "login"   // its refresh tokens, of which one is current
	Tenant  = "tenant"  // its members' roles, an owner always among them
)

// model is a state machine that says which states an act may lead to.
type model struct {
	first string // state
	read  []string
	// next returns the states after an act that was answered so; none where
	// the answer cannot be. A lost answer allows the state before as well.
	next func(state string, c Call, a Answer) []string
}

func (m model) reads(act string) bool { return slices.Contains(m.read, act) }

func (m model) porcupine() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{m.first} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, s := range m.next(state.(string), input.(Call), output.(Answer)) {
				next = append(next, s)
			}
			return next
		},
	}).ToModel()
}

var models = map[string]model{
	Account: {"", []string{"sign in"}, account},
	Session: {"", []string{"get", "list"}, session},
	Login:   {"", []string{"use"}, login},
	Tenant:  {"", []string{"members"}, tenant},
}

// settle is what most acts come to: to is the state that the act leads to and
// told the answer that the state before asks for.
func settle(state, to string, told int, a Answer) []string {
	switch a.Status {
	case 0:
		return []string{state, to}
	case told:
		return []string{to}
	default:
		return nil
	}
}

// account: the state is the password of who has the address.
func account(state string, c Call, a Answer) []string {
	switch c.Act {
	case "register":
		if state == "" {
			return settle(state, c.Value, http.StatusCreated, a)
		}
		return settle(state, state, http.StatusConflict, a)
	default: // sign in
		if state == c.Value {
			return settle(state, state, http.StatusOK, a)
		}
		return settle(state, state, http.StatusUnauthorized, a)
	}
}

// An act that runs again, its first run having come to nothing, may find that
// another has done the same meanwhile: a session is deleted, a role is changed.
// It answers that it is done. So of several that do this at one moment each may
// say so, and none later: states tell that moment from what follows, until
// anything else is done.

const (
	unheard = "?"      // what was made, and nobody was told of
	ending  = "ending" // the name of a session that has just been deleted
	gone    = "gone"   // the name of a deleted session
)

// session: the state is its id and name. A name is a word.
func session(state string, c Call, a Answer) []string {
	id, name, made := strings.Cut(state, " ")
	if c.Act == "create" {
		switch {
		case !made && a.Status == 0:
			return []string{state, unheard + " " + c.Value}
		case !made && a.Status == http.StatusCreated:
			return []string{a.Value + " " + c.Value}
		case a.Status == 0:
			return []string{state}
		case a.Status == http.StatusCreated && (id == unheard || id == a.Value): // the same again, deleted or not
			return []string{a.Value + " " + settled(name)}
		}
		return nil
	}
	live := made && name != gone && name != ending
	switch {
	case c.Act == "list": // tells of every session in one answer
		if want := map[bool]string{true: name, false: gone}[live]; a.Value != want {
			return nil
		}
		return settle(state, id+" "+settled(name), http.StatusOK, a)
	case name == ending && c.Act == "delete" && a.Status == http.StatusOK:
		return []string{state}
	case !live:
		return settle(state, id+" "+gone, http.StatusNotFound, a)
	case c.Act == "get" && a.Value != name:
		return nil
	case c.Act == "rename":
		return settle(state, id+" "+c.Value, http.StatusOK, a)
	case c.Act == "delete":
		return settle(state, id+" "+ending, http.StatusOK, a)
	}
	return settle(state, state, http.StatusOK, a)
}

// settled is the name once anything else is done.
func settled(name string) string {
	if name == ending {
		return gone
	}
	return name
}

// login: the state is its refresh tokens, the current one last. Clients present
// only tokens that they were given, each within its grace.
func login(state string, c Call, a Answer) []string {
	if c.Act == "sign in" { // the first act, by nobody else
		return []string{a.Value}
	}
	switch {
	case state == ending && c.Act == "logout" && a.Status == http.StatusOK:
		return []string{state}
	case state == ending || state == gone:
		return settle(state, gone, http.StatusUnauthorized, a)
	case c.Act == "logout":
		return settle(state, ending, http.StatusOK, a)
	case c.Act == "use":
		return settle(state, state, http.StatusOK, a)
	}
	tokens := strings.Fields(state)
	current := tokens[len(tokens)-1]
	switch {
	case a.Status == 0 && c.Value == current:
		return []string{state, state + " " + unheard}
	case a.Status == 0:
		return []string{state}
	case a.Status != http.StatusOK, !slices.Contains(tokens, c.Value):
		return nil
	case c.Value != current && a.Value == current: // a spent one leads to it
		return []string{state}
	case slices.Contains(tokens, a.Value):
		return nil // an old one comes back
	case c.Value == current:
		return []string{state + " " + a.Value}
	case current == unheard:
		return []string{strings.Join(append(tokens[:len(tokens)-1:len(tokens)-1], a.Value), " ")}
	}
	return nil
}

// out is the role of who is no member.
const out = "none"

var ranks = []string{out, "member", "admin", "owner"}

func rank(role string) int { return slices.Index(ranks, role) }

// tenant: the state is the roles of "0", "1", …, in that order, and, after a
// semicolon, the change that led to it until anything else is done.
func tenant(state string, c Call, a Answer) []string {
	if c.Act == "found" { // the first act, by nobody else
		return []string{c.Value}
	}
	index := func(who string) int { return int(who[0] - '0') }
	to := out
	if c.Act == "set" {
		to = c.Value
	}
	change := c.Of + " " + to
	state, last, _ := strings.Cut(state, ";")
	if c.Act != "members" && last == change && a.Status == http.StatusOK {
		return []string{state + ";" + change}
	}
	roles := strings.Fields(state)
	refused := func(status int) []string { return settle(state, state, status, a) }
	by := roles[index(c.By)]
	if by == out {
		return refused(http.StatusNotFound)
	}
	if c.Act == "members" {
		if a.Value != state {
			return nil
		}
		return refused(http.StatusOK)
	}
	of := roles[index(c.Of)]
	if of == out {
		return refused(http.StatusNotFound)
	}
	changed := slices.Clone(roles)
	changed[index(c.Of)] = to
	leaves := c.Act == "remove" && c.By == c.Of
	switch {
	case !leaves && rank(by) < max(rank("admin"), rank(of), rank(to)):
		return refused(http.StatusForbidden)
	case !slices.Contains(changed, "owner"):
		return refused(http.StatusConflict)
	}
	return settle(state, strings.Join(changed, " ")+";"+change, http.StatusOK, a)
}
