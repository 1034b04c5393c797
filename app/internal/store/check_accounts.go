package store

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/kv"
	"coditect.ai/platform/app/internal/store/tuple"
)

// formKind is the name that begins a form.
func formKind(form string) string {
	kind, _, _ := strings.Cut(form, " ")
	return kind
}

// checkPresent holds that a user is there, or that what is left of them is
// being removed.
func (r *Reader) checkPresent(userID uuid.UUID) error {
	_, err := r.User(userID)
	if isNotFound(err) && r.removing(Removal{Kind: RemoveUser, UserID: userID}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

// checkHashed does not ask for the user: what is theirs by hash may outlive them.
func (r *Reader) checkHashed(kind string, element any) error {
	hash, isHash := asHash(element)
	if !isHash {
		return errForeign
	}
	owner, expiresAt, err := r.ownership(kind, hash)
	if err != nil {
		return err
	}
	indexed := owner != uuid.Nil
	if kind == nameRefreshTokens {
		token, err := load[RefreshToken](r, r.space.hashed(kind, hash))
		if err != nil {
			return err
		}
		indexed = token.Indexed
	}
	if indexed {
		if err := r.same(r.space.owned(owner, kind, hash), []byte{}); err != nil {
			return fmt.Errorf("owner's index: %w", err)
		}
	}
	return r.checkExpires(r.space.hashedExpiry(expiresAt, kind, hash))
}

func (r *Reader) checkExpires(entry tuple.Key) error {
	if err := r.same(entry, []byte{}); err != nil {
		return fmt.Errorf("%w: %w", errNoExpiry, err)
	}
	return nil
}

func (r *Reader) checkOwned(value []byte, userID uuid.UUID, elements []any) error {
	kind, _ := elements[2].(string)
	hash, isHash := asHash(elements[3])
	if !isHash {
		return errForeign
	}
	owner, _, err := r.ownership(kind, hash)
	if err == nil && (owner != userID || len(value) != 0) {
		err = errDiffers
	}
	return err
}

func (r *Reader) checkThrottle(value []byte, element any) error {
	th, err := decode[Throttle](value)
	if err != nil {
		return err
	}
	hash, isHash := asHash(element)
	if !isHash {
		return errForeign
	}
	return r.checkExpires(r.space.hashedExpiry(th.ExpiresAt, nameThrottles, hash))
}

func (r *Reader) checkInvitation(value []byte, tenantID, id uuid.UUID) error {
	i, err := decode[Invitation](value)
	if err != nil {
		return err
	}
	if err := r.same(r.space.hashed(nameInviteTokens, i.Token), tuple.Key{}.UUID(tenantID).UUID(id)); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return r.checkExpires(r.space.tenantExpiry(i.ExpiresAt, nameInvitations, tenantID, id))
}

func (r *Reader) checkInviteToken(value []byte, element any) error {
	ids, err := decodeIDs(value, 2)
	if err != nil {
		return err
	}
	hash, isHash := asHash(element)
	if !isHash {
		return errForeign
	}
	i, err := load[Invitation](r, r.space.invitation(ids[0], ids[1]))
	if err == nil && i.Token != hash {
		err = errDiffers
	}
	return err
}

func (r *Reader) checkEvent(value []byte, tenantID, id uuid.UUID) error {
	e, err := decode[Event](value)
	if err != nil {
		return err
	}
	return r.checkExpires(r.space.tenantExpiry(e.ExpiresAt, nameAudit, tenantID, id))
}

// checkRemoval holds that a removal lies where it says, and that what it removes is deleted.
func (r *Reader) checkRemoval(p kv.Pair) error {
	m, err := decode[Removal](p.Value)
	if err != nil {
		return err
	}
	if !bytes.Equal(p.Key, r.space.removal(m)) {
		return errDiffers
	}
	switch m.Kind {
	case RemoveUser:
		_, err = r.User(m.UserID)
	case RemoveTenant:
		_, err = r.Tenant(m.TenantID)
	default:
		return nil
	}
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		err = errDiffers
	}
	return err
}
