package store

import (
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
	nameExpiry         = "expiry"
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
//	refresh_tokens/{SHA-256}                         refresh token record
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
func (s space) tenant(t uuid.UUID) tuple.Key        { return s.prefix.Text(nameTenants).UUID(t) }
func (s space) member(t, u uuid.UUID) tuple.Key     { return s.tenant(t).Text(nameMembers).UUID(u) }
func (s space) session(t, id uuid.UUID) tuple.Key   { return s.tenant(t).Text(nameSessions).UUID(id) }
func (s space) sessionOwner(id uuid.UUID) tuple.Key { return s.prefix.Text(nameSessions).UUID(id) }
func (s space) refreshToken(hash TokenHash) tuple.Key {
	return s.prefix.Text(nameRefreshTokens).Bytes(hash[:])
}

func (s space) sessionsByUser(t, u uuid.UUID) tuple.Key {
	return s.tenant(t).Text(nameSessionsByUser).UUID(u)
}

func (s space) sessionByUser(t, u, id uuid.UUID) tuple.Key {
	return s.sessionsByUser(t, u).UUID(id)
}

func (s space) expiry() tuple.Key { return s.prefix.Text(nameExpiry) }

func (s space) loginExpiry(at time.Time, u, l uuid.UUID) tuple.Key {
	return s.expiry().Int(at.UnixMilli()).Text(nameLogins).UUID(u).UUID(l)
}

func (s space) refreshTokenExpiry(at time.Time, hash TokenHash) tuple.Key {
	return s.expiry().Int(at.UnixMilli()).Text(nameRefreshTokens).Bytes(hash[:])
}

// below holds the keys that have more elements than prefix.
func below(prefix tuple.Key) kv.Range { return kv.PrefixRange(prefix) }
