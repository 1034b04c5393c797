package store

import (
	"fmt"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// User returns the user, or ErrNotFound.
func (r *Reader) User(id uuid.UUID) (User, error) {
	u, err := load[User](r, r.space.user(id))
	u.ID = id
	return u, err
}

// UserIDByEmail returns whose the address is, in its normal form, or ErrNotFound.
func (r *Reader) UserIDByEmail(email string) (uuid.UUID, error) {
	ids, err := loadIDs(r, r.space.userByEmail(email), 1)
	if err != nil {
		return uuid.Nil, err
	}
	return ids[0], nil
}

// CreateUser adds a user and gives them their address, which the caller has
// found free in this transaction.
func (t *Tx) CreateUser(u User) {
	t.UpdateUser(u)
	t.set(t.space.userByEmail(u.Email), tuple.Key{}.UUID(u.ID))
}

// UpdateUser replaces the record of a user whose address stays the same.
func (t *Tx) UpdateUser(u User) { t.put(u, t.space.user(u.ID)) }

// Tenant returns the tenant, or ErrNotFound.
func (r *Reader) Tenant(id uuid.UUID) (Tenant, error) {
	t, err := load[Tenant](r, r.space.tenant(id))
	t.ID = id
	return t, err
}

// PutTenant adds or replaces a tenant.
func (t *Tx) PutTenant(tenant Tenant) { t.put(tenant, t.space.tenant(tenant.ID)) }

// Membership returns what the user is in the tenant, or ErrNotFound.
func (r *Reader) Membership(tenantID, userID uuid.UUID) (Membership, error) {
	m, err := load[Membership](r, r.space.userTenant(userID, tenantID))
	m.TenantID, m.UserID = tenantID, userID
	return m, err
}

// DeleteUser removes a user and frees their address. What else is theirs is for
// a Removal of kind RemoveUser, in the same transaction.
func (t *Tx) DeleteUser(u User) {
	t.clear(t.space.user(u.ID))
	t.clear(t.space.userByEmail(u.Email))
}

// Memberships returns up to limit tenants of the user in the order of their
// ids; with an after that is not nil, those that follow it.
func (r *Reader) Memberships(userID, after uuid.UUID, limit int) ([]Membership, error) {
	return r.memberships(r.space.userTenants(userID), after, limit, func(m *Membership, id uuid.UUID) {
		m.UserID, m.TenantID = userID, id
	})
}

// Members returns up to limit members of the tenant in the order of their ids;
// with an after that is not nil, those that follow it.
func (r *Reader) Members(tenantID, after uuid.UUID, limit int) ([]Membership, error) {
	return r.memberships(r.space.members(tenantID), after, limit, func(m *Membership, id uuid.UUID) {
		m.TenantID, m.UserID = tenantID, id
	})
}

func (r *Reader) memberships(list tuple.Key, after uuid.UUID, limit int, name func(*Membership, uuid.UUID)) ([]Membership, error) {
	page := below(list)
	if after != uuid.Nil {
		page.Begin = kv.KeyRange(list.UUID(after)).End
	}
	pairs, err := r.scan(page, kv.RangeOptions{Limit: limit})
	if err != nil {
		return nil, err
	}
	out := make([]Membership, 0, len(pairs))
	for _, p := range pairs {
		m, err := decode[Membership](p.Value)
		if err != nil {
			return nil, err
		}
		id, err := lastID(p.Key)
		if err != nil {
			return nil, err
		}
		name(&m, id)
		out = append(out, m)
	}
	return out, nil
}

// PutMembership adds or replaces a membership, in both directions.
func (t *Tx) PutMembership(m Membership) {
	t.put(m, t.space.userTenant(m.UserID, m.TenantID), t.space.member(m.TenantID, m.UserID))
}

// DeleteMembership removes a membership, in both directions.
func (t *Tx) DeleteMembership(tenantID, userID uuid.UUID) {
	t.clear(t.space.userTenant(userID, tenantID))
	t.clear(t.space.member(tenantID, userID))
}

// lastID returns the id that ends key.
func lastID(key []byte) (uuid.UUID, error) {
	elements, err := tuple.Decode(key)
	if err != nil {
		return uuid.Nil, fmt.Errorf("decoding a key: %w", err)
	}
	if len(elements) > 0 {
		if id, ok := elements[len(elements)-1].(uuid.UUID); ok {
			return id, nil
		}
	}
	return uuid.Nil, fmt.Errorf("key %v does not end in an id", elements)
}
