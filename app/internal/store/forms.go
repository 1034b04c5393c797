package store

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// class is what a key is to the store as a whole.
type class int

const (
	lasting   class = iota // a record that stays until somebody changes it: the inventory's
	transient              // a record that comes and goes by itself
	index                  // follows from a record
)

// form is what the store knows of the keys of one form. Integrity, repair and
// expiry are built on this table alone.
type form struct {
	kind  string
	class class
	// derive returns the index entries that go with a record; they are there,
	// with these values, exactly as long as it is. An error says that the record
	// cannot be read.
	derive func(space, entry) ([]kv.Pair, error)
	// record returns the key of the record that an index entry follows from.
	record func(space, entry) (tuple.Key, error)
	// holds returns what else is wrong with a record, if anything.
	holds func(*Reader, entry) error
}

// entry is a pair with its key taken apart.
type entry struct {
	kv.Pair
	elements []any
	ids      []uuid.UUID
	form     string
}

// What is wrong with a key.
var (
	errForeign  = errors.New("no key of this release has this form")
	errDiffers  = errors.New("its counterpart differs")
	errNoIndex  = errors.New("it has no index entry")
	errNoExpiry = errors.New("it has no expiry entry")
	errNoRecord = errors.New("there is no such record")
)

// parse takes the key of p apart. One of no known form has an entry too.
func (s space) parse(p kv.Pair) (entry, error) {
	elements, err := tuple.Decode(p.Key[len(s.prefix):])
	if err != nil {
		return entry{Pair: p}, err
	}
	e := entry{Pair: p, elements: elements}
	e.form, e.ids = formOf(elements)
	return e, nil
}

// formOf writes a key's form: its names as they are, # for an id, $ for
// anything else that differs from key to key. It gives the ids apart.
func formOf(elements []any) (form string, ids []uuid.UUID) {
	words := make([]string, len(elements))
	for i, e := range elements {
		switch e := e.(type) {
		case uuid.UUID:
			words[i], ids = "#", append(ids, e)
		case string:
			words[i] = e
			if i == 1 {
				words[i] = "$" // an address: names are never second
			}
		default:
			words[i] = "$"
		}
	}
	return strings.Join(words, " "), ids
}

// hash is the hash that an entry's key ends in.
func (e entry) hash() (TokenHash, error) {
	hash, isHash := asHash(e.elements[len(e.elements)-1])
	if !isHash {
		return TokenHash{}, errForeign
	}
	return hash, nil
}

// forms is the table: every form of keys that this release knows.
var forms = map[string]form{
	"users #":                 {kind: nameUsers, derive: from(deriveUser)},
	"users # tenants #":       {kind: "memberships", derive: from(deriveMembership), holds: (*Reader).checkMembership},
	"users # logins #":        {kind: nameLogins, derive: from(deriveLogin), holds: (*Reader).checkLogin},
	"users # factors":         {kind: nameFactors, derive: from(deriveFactors), holds: (*Reader).checkFactors},
	"tenants #":               {kind: nameTenants, derive: from(func(space, entry, Tenant) []kv.Pair { return nil })},
	"tenants # sessions #":    {kind: nameSessions, derive: from(deriveSession)},
	"tenants # invitations #": {kind: nameInvitations, derive: from(deriveInvitation)},
	"tenants # audit #":       {kind: nameAudit, derive: from(deriveEvent)},
	"refresh_tokens $":        {kind: nameRefreshTokens, derive: from(deriveRefreshToken)},
	"one_time_tokens $":       {kind: nameOneTimeTokens, derive: from(deriveOneTimeToken)},

	"kept_answers $": {kind: nameKeptAnswers, class: transient, derive: from(deriveKeptAnswer)},
	"challenges $":   {kind: nameChallenges, class: transient, derive: from(deriveChallenge)},
	"throttles $":    {kind: nameThrottles, class: transient, derive: from(deriveThrottle)},
	"outbox $ #":     {kind: nameOutbox, class: transient, derive: from(func(space, entry, Letter) []kv.Pair { return nil })},
	"loading":        {kind: nameLoading, class: transient, derive: from(func(space, entry, Loading) []kv.Pair { return nil })},
	"schema":         {kind: nameSchema, class: transient, derive: from(func(space, entry, Schema) []kv.Pair { return nil })},
	"migrations $":   {kind: nameMigrations, class: transient, derive: from(func(space, entry, progress) []kv.Pair { return nil })},
	"leases $":       {kind: nameLeases, class: transient, derive: from(func(space, entry, Lease) []kv.Pair { return nil })},
	"removals $ #":   {kind: nameRemovals, class: transient, derive: from(deriveRemoval), holds: (*Reader).checkRemoval},
	"removals $ # #": {kind: nameRemovals, class: transient, derive: from(deriveRemoval), holds: (*Reader).checkRemoval},

	"users_by_email $":               {kind: nameUsersByEmail, class: index, record: byValue(1, func(s space, ids []uuid.UUID) tuple.Key { return s.user(ids[0]) })},
	"passkeys $":                     {kind: namePasskeys, class: index, record: byValue(1, func(s space, ids []uuid.UUID) tuple.Key { return s.factors(ids[0]) })},
	"sessions #":                     {kind: "session_owners", class: index, record: sessionOfOwner},
	"invitation_tokens $":            {kind: nameInviteTokens, class: index, record: byValue(2, func(s space, ids []uuid.UUID) tuple.Key { return s.invitation(ids[0], ids[1]) })},
	"tenants # members #":            {kind: nameMembers, class: index, record: byKey(func(s space, ids []uuid.UUID) tuple.Key { return s.userTenant(ids[1], ids[0]) })},
	"tenants # sessions_by_user # #": {kind: nameSessionsByUser, class: index, record: byKey(func(s space, ids []uuid.UUID) tuple.Key { return s.session(ids[0], ids[2]) })},
	"users # refresh_tokens $":       owned,
	"users # one_time_tokens $":      owned,
	"users # kept_answers $":         owned,
	"users # challenges $":           owned,
	"expiry $ logins # #":            expiring,
	"expiry $ refresh_tokens $":      expiring,
	"expiry $ one_time_tokens $":     expiring,
	"expiry $ kept_answers $":        expiring,
	"expiry $ challenges $":          expiring,
	"expiry $ throttles $":           expiring,
	"expiry $ invitations # #":       expiring,
	"expiry $ audit # #":             expiring,
}

var (
	owned    = form{kind: "owned", class: index, record: ownedRecord}
	expiring = form{kind: nameExpiry, class: index, record: expiringRecord}
)

// from decodes the record for derive.
func from[T record](derive func(space, entry, T) []kv.Pair) func(space, entry) ([]kv.Pair, error) {
	return func(s space, e entry) ([]kv.Pair, error) {
		rec, err := decode[T](e.Value)
		if err != nil {
			return nil, err
		}
		return derive(s, e, rec), nil
	}
}

// here is an index entry that says no more than its key does.
func here(key tuple.Key) kv.Pair { return kv.Pair{Key: key, Value: []byte{}} }

func deriveUser(s space, e entry, u User) []kv.Pair {
	return []kv.Pair{{Key: s.userByEmail(u.Email), Value: tuple.Key{}.UUID(e.ids[0])}}
}

func deriveMembership(s space, e entry, _ Membership) []kv.Pair {
	return []kv.Pair{{Key: s.member(e.ids[1], e.ids[0]), Value: e.Value}}
}

func deriveLogin(s space, e entry, l Login) []kv.Pair {
	return []kv.Pair{here(s.loginExpiry(l.ExpiresAt, e.ids[0], e.ids[1]))}
}

func deriveFactors(s space, e entry, f Factors) []kv.Pair {
	var pairs []kv.Pair
	for _, p := range f.Passkeys {
		pairs = append(pairs, kv.Pair{Key: s.passkey(p.CredentialID), Value: tuple.Key{}.UUID(e.ids[0])})
	}
	return pairs
}

func deriveSession(s space, e entry, rec Session) []kv.Pair {
	return []kv.Pair{
		{Key: s.sessionByUser(e.ids[0], rec.UserID, e.ids[1]), Value: e.Value},
		{Key: s.sessionOwner(e.ids[1]), Value: tuple.Key{}.UUID(e.ids[0]).UUID(rec.UserID)},
	}
}

func deriveInvitation(s space, e entry, i Invitation) []kv.Pair {
	return []kv.Pair{
		{Key: s.hashed(nameInviteTokens, i.Token), Value: tuple.Key{}.UUID(e.ids[0]).UUID(e.ids[1])},
		here(s.tenantExpiry(i.ExpiresAt, nameInvitations, e.ids[0], e.ids[1])),
	}
}

func deriveEvent(s space, e entry, ev Event) []kv.Pair {
	return []kv.Pair{here(s.tenantExpiry(ev.ExpiresAt, nameAudit, e.ids[0], e.ids[1]))}
}

func deriveRefreshToken(s space, e entry, t RefreshToken) []kv.Pair {
	owner := t.UserID
	if !t.Indexed {
		owner = uuid.Nil
	}
	return s.deriveHashed(e, nameRefreshTokens, owner, t.ExpiresAt)
}

func deriveOneTimeToken(s space, e entry, t OneTimeToken) []kv.Pair {
	return s.deriveHashed(e, nameOneTimeTokens, t.UserID, t.ExpiresAt)
}

func deriveKeptAnswer(s space, e entry, k KeptAnswer) []kv.Pair {
	return s.deriveHashed(e, nameKeptAnswers, k.UserID, k.ExpiresAt)
}

func deriveChallenge(s space, e entry, c Challenge) []kv.Pair {
	return s.deriveHashed(e, nameChallenges, c.UserID, c.ExpiresAt)
}

func deriveThrottle(s space, e entry, th Throttle) []kv.Pair {
	return s.deriveHashed(e, nameThrottles, uuid.Nil, th.ExpiresAt)
}

// deriveHashed is what putHashed writes beside a record.
func (s space) deriveHashed(e entry, kind string, owner uuid.UUID, expiresAt time.Time) []kv.Pair {
	hash, err := e.hash()
	if err != nil {
		return nil // no key of ours: see wellFormed
	}
	pairs := []kv.Pair{here(s.hashedExpiry(expiresAt, kind, hash))}
	if owner != uuid.Nil {
		pairs = append(pairs, here(s.owned(owner, kind, hash)))
	}
	return pairs
}

func deriveRemoval(space, entry, Removal) []kv.Pair { return nil }

// byValue finds the record of an index entry by the n ids in its value.
func byValue(n int, key func(space, []uuid.UUID) tuple.Key) func(space, entry) (tuple.Key, error) {
	return func(s space, e entry) (tuple.Key, error) {
		ids, err := decodeIDs(e.Value, n)
		if err != nil {
			return nil, err
		}
		return key(s, ids), nil
	}
}

// byKey finds it by the ids in its key.
func byKey(key func(space, []uuid.UUID) tuple.Key) func(space, entry) (tuple.Key, error) {
	return func(s space, e entry) (tuple.Key, error) { return key(s, e.ids), nil }
}

func sessionOfOwner(s space, e entry) (tuple.Key, error) {
	ids, err := decodeIDs(e.Value, 2)
	if err != nil {
		return nil, err
	}
	return s.session(ids[0], e.ids[0]), nil
}

func ownedRecord(s space, e entry) (tuple.Key, error) {
	hash, err := e.hash()
	if err != nil {
		return nil, err
	}
	kind, _ := e.elements[2].(string)
	return s.hashed(kind, hash), nil
}

func expiringRecord(s space, e entry) (tuple.Key, error) {
	at, err := s.parseExpiry(e.Key)
	return at.record, err
}

// derived returns the index entries of the record e.
func (s space) derived(e entry) ([]kv.Pair, error) {
	f, known := forms[e.form]
	if !known || f.derive == nil {
		return nil, errForeign
	}
	return f.derive(s, e)
}

// recordOf returns the record that the index entry e follows from. The error
// is ErrNotFound where there is none, and errDiffers where it is another's.
func (r *Reader) recordOf(e entry) (rec entry, derived []kv.Pair, err error) {
	key, err := forms[e.form].record(r.space, e)
	if err != nil {
		return entry{}, nil, err
	}
	value, err := r.get(key)
	if err != nil {
		return entry{}, nil, err
	}
	if rec, err = r.space.parse(kv.Pair{Key: key, Value: value}); err != nil {
		return entry{}, nil, err
	}
	if derived, err = r.space.derived(rec); err != nil {
		return rec, nil, err
	}
	if !slices.ContainsFunc(derived, func(p kv.Pair) bool { return bytes.Equal(p.Key, e.Key) && bytes.Equal(p.Value, e.Value) }) {
		return rec, derived, errDiffers
	}
	return rec, derived, nil
}
