package auth

import (
	"time"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store"
)

// auditTTL is how long an event is kept.
const auditTTL = 365 * 24 * time.Hour

// The acts of accounts, as audit trails name them.
const (
	actRegistered      = "user.registered"
	actUpdated         = "user.updated"
	actVerified        = "user.email_verified"
	actPasswordChanged = "user.password_changed"
	actPasswordReset   = "user.password_reset"
	actLoginOpened     = "login.opened"
	actLoginRevoked    = "login.revoked"
	actLoginReplayed   = "login.replayed"
	actLoginsRevoked   = "login.all_revoked"
	actMemberLeft      = "member.left"
)

// Record writes an event to a tenant's audit trail in the transaction of the
// act itself. detail is names and values in turn, and never names a person.
func Record(tx *store.Tx, tenantID, actorID uuid.UUID, action string, subjectID uuid.UUID, detail ...string) {
	e := store.Event{
		ID: uuid.Must(uuid.NewV7()), TenantID: tenantID, At: tx.Now(),
		ActorID: actorID, Action: action, SubjectID: subjectID, ExpiresAt: tx.Now().Add(auditTTL),
	}
	for i := 0; i+1 < len(detail); i += 2 {
		if e.Detail == nil {
			e.Detail = make(map[string]string, len(detail)/2)
		}
		e.Detail[detail[i]] = detail[i+1]
	}
	tx.PutEvent(e)
}
