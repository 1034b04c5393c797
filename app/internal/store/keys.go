package store

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// Names of the key kinds: the first element below the subspace, or the one
// after an owner's id. They are on disk, so they never change.
const (
	nameUsers          = "users"
	nameUsersByEmail   = "users_by_email"
	nameTenants        = "tenants"
	nameMembers        = "members"
	nameLogins         = "logins"
	nameRefreshTokens  = "refresh_tokens"
	nameSessions       = "sessions"
	nameSessionsByUser = "sessions_by_user"
	nameInvitations    = "invitations"
	nameInviteTokens   = "invitation_tokens"
	nameAudit          = "audit"
	nameOneTimeTokens  = "one_time_tokens"
	nameKeptAnswers    = "kept_answers"
	nameThrottles      = "throttles"
	nameOutbox         = "outbox"
	nameRemovals       = "removals"
	nameExpiry         = "expiry"
	nameLoading        = "loading"
	nameSchema         = "schema"
	nameMigrations     = "migrations"
	nameLeases         = "leases"
)

// space builds every key of the store:
//
//	users/{user}                                     user record
//	users/{user}/tenants/{tenant}                    membership record
//	users/{user}/logins/{login}                      login record
//	users_by_email/{email}                           user id
//	tenants/{tenant}                                 tenant record
//	tenants/{tenant}/members/{user}                  membership record, the same
//	tenants/{tenant}/sessions/{session}              session record
//	tenants/{tenant}/sessions_by_user/{user}/{session}  session record, the same: a page of the list is one range
//	sessions/{session}                               tenant id, user id
//	tenants/{tenant}/invitations/{invitation}        invitation record
//	tenants/{tenant}/audit/{event}                   audit event
//	invitation_tokens/{SHA-256}                      tenant id, invitation id
//	refresh_tokens/{SHA-256}                         refresh token record
//	one_time_tokens/{SHA-256}                        one-time token record
//	kept_answers/{SHA-256}                           answer of a request that had an idempotency key
//	users/{user}/{one of these three}/{SHA-256}      nothing: what of it is the user's
//	throttles/{SHA-256}                              failures of an account or an address
//	outbox/{unix ms}/{letter}                        letter to send, in order of its next try
//	removals/{kind}/{id…}                            what the sweeper removes bit by bit
//	loading                                          mark of a store that is being filled
//	schema                                           the schema's version, and who may write
//	migrations/{version}                             how far a migration has come
//	leases/{work}                                    who does work that one does at a time
//	expiry/{unix ms}/{kind}/{id…}                    nothing: what to sweep, in order of time
type space struct{ prefix tuple.Key }

func (s space) users() tuple.Key                    { return s.prefix.Text(nameUsers) }
func (s space) user(u uuid.UUID) tuple.Key          { return s.users().UUID(u) }
func (s space) userTenants(u uuid.UUID) tuple.Key   { return s.user(u).Text(nameTenants) }
func (s space) userTenant(u, t uuid.UUID) tuple.Key { return s.userTenants(u).UUID(t) }
func (s space) logins(u uuid.UUID) tuple.Key        { return s.user(u).Text(nameLogins) }
func (s space) login(u, l uuid.UUID) tuple.Key      { return s.logins(u).UUID(l) }
func (s space) userByEmail(email string) tuple.Key {
	return s.prefix.Text(nameUsersByEmail).Text(email)
}
func (s space) tenant(t uuid.UUID) tuple.Key      { return s.prefix.Text(nameTenants).UUID(t) }
func (s space) member(t, u uuid.UUID) tuple.Key   { return s.members(t).UUID(u) }
func (s space) session(t, id uuid.UUID) tuple.Key { return s.tenant(t).Text(nameSessions).UUID(id) }

func (s space) sessionOwner(id uuid.UUID) tuple.Key   { return s.prefix.Text(nameSessions).UUID(id) }
func (s space) refreshToken(hash TokenHash) tuple.Key { return s.hashed(nameRefreshTokens, hash) }

func (s space) sessionsByUser(t, u uuid.UUID) tuple.Key {
	return s.tenant(t).Text(nameSessionsByUser).UUID(u)
}

func (s space) sessionByUser(t, u, id uuid.UUID) tuple.Key {
	return s.sessionsByUser(t, u).UUID(id)
}

// hashed is the key of a record that is addressed by a hash.
func (s space) hashed(kind string, hash TokenHash) tuple.Key {
	return s.prefix.Text(kind).Bytes(hash[:])
}

// owned says that such a record is the user's.
func (s space) owned(u uuid.UUID, kind string, hash TokenHash) tuple.Key {
	return s.user(u).Text(kind).Bytes(hash[:])
}

func (s space) hashedExpiry(at time.Time, kind string, hash TokenHash) tuple.Key {
	return s.expiry().Int(at.UnixMilli()).Text(kind).Bytes(hash[:])
}

func (s space) members(t uuid.UUID) tuple.Key     { return s.tenant(t).Text(nameMembers) }
func (s space) invitations(t uuid.UUID) tuple.Key { return s.tenant(t).Text(nameInvitations) }
func (s space) invitation(t, id uuid.UUID) tuple.Key {
	return s.invitations(t).UUID(id)
}
func (s space) audit(t uuid.UUID) tuple.Key     { return s.tenant(t).Text(nameAudit) }
func (s space) event(t, id uuid.UUID) tuple.Key { return s.audit(t).UUID(id) }

// tenantExpiry is the expiry entry of an invitation or an event.
func (s space) tenantExpiry(at time.Time, kind string, t, id uuid.UUID) tuple.Key {
	return s.expiry().Int(at.UnixMilli()).Text(kind).UUID(t).UUID(id)
}

func (s space) outbox() tuple.Key { return s.prefix.Text(nameOutbox) }
func (s space) letter(due time.Time, id uuid.UUID) tuple.Key {
	return s.outbox().Int(due.UnixMilli()).UUID(id)
}
func (s space) removals() tuple.Key { return s.prefix.Text(nameRemovals) }

func (s space) expiry() tuple.Key { return s.prefix.Text(nameExpiry) }

func (s space) loginExpiry(at time.Time, u, l uuid.UUID) tuple.Key {
	return s.expiry().Int(at.UnixMilli()).Text(nameLogins).UUID(u).UUID(l)
}

// at is the key that is so called below the subspace.
func (s space) at(key []byte) tuple.Key { return append(slices.Clip(s.prefix), key...) }

// below holds the keys that have more elements than prefix.
func below(prefix tuple.Key) kv.Range { return kv.PrefixRange(prefix) }
