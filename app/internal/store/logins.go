package store

import "github.com/google/uuid"

// Login returns the user's login, or ErrNotFound where there is none or it has expired.
func (r *Reader) Login(userID, id uuid.UUID) (Login, error) {
	l, err := load[Login](r, r.space.login(userID, id))
	if err != nil {
		return Login{}, err
	}
	if !l.ExpiresAt.After(r.now) {
		return Login{}, ErrNotFound
	}
	l.UserID, l.ID, l.indexed = userID, id, l.ExpiresAt
	return l, nil
}

// Logins returns a page of the user's logins as newestFirst does, the expired
// that are not yet swept included.
func (r *Reader) Logins(userID, before uuid.UUID, limit int) (page []Login, more bool, err error) {
	return newestFirst(r, r.space.logins(userID), before, limit, func(l *Login, id uuid.UUID) {
		l.UserID, l.ID, l.indexed = userID, id, l.ExpiresAt
	})
}

// PutLogin adds a login, or replaces one that was read in this transaction,
// and moves its expiry entry along.
func (t *Tx) PutLogin(l Login) {
	if !l.indexed.IsZero() && !l.indexed.Equal(l.ExpiresAt) {
		t.clear(t.space.loginExpiry(l.indexed, l.UserID, l.ID))
	}
	t.set(t.space.loginExpiry(l.ExpiresAt, l.UserID, l.ID), []byte{})
	t.put(l, t.space.login(l.UserID, l.ID))
}

// DeleteLogin removes a login that was read in this transaction, with its
// current refresh token. Spent ones lead nowhere and are swept in their time.
func (t *Tx) DeleteLogin(l Login) {
	t.clear(t.space.login(l.UserID, l.ID))
	t.clear(t.space.loginExpiry(l.indexed, l.UserID, l.ID))
	t.deleteHashed(nameRefreshTokens, l.UserID, l.Current, l.indexed)
}

// RefreshToken returns the token with this hash, or ErrNotFound where there is
// none or it has expired.
func (r *Reader) RefreshToken(hash TokenHash) (RefreshToken, error) {
	token, err := load[RefreshToken](r, r.space.refreshToken(hash))
	if err != nil {
		return RefreshToken{}, err
	}
	if !token.ExpiresAt.After(r.now) {
		return RefreshToken{}, ErrNotFound
	}
	token.Hash, token.Indexed = hash, false
	return token, nil
}

// PutRefreshToken adds a token with its expiry entry.
func (t *Tx) PutRefreshToken(token RefreshToken) {
	token.Indexed = true
	t.putHashed(token, nameRefreshTokens, token.UserID, token.Hash, token.ExpiresAt)
}
