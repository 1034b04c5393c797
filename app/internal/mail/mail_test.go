package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// server is a real SMTP server on loopback that keeps what it gets.
type server struct {
	address string
	trust   *tls.Config // of a client

	mu       sync.Mutex
	messages []string
	from, to string
	secure   bool
	user     string
}

const rightPassword = "only the server knows"

type session struct {
	server *server
	conn   *smtp.Conn
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != rightPassword {
			return smtp.ErrAuthFailed
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.user = user
		return nil
	}), nil
}
func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.server.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	s.server.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	_, secure := s.conn.TLSConnectionState()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages, s.server.secure = append(s.server.messages, string(b)), secure
	return err
}
func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// serve starts a server that offers what security says.
func serve(t *testing.T, security Security) *server {
	t.Helper()
	lent := httptest.NewTLSServer(nil) // for its certificate
	defer lent.Close()
	roots := x509.NewCertPool()
	roots.AddCert(lent.Certificate())
	got := &server{trust: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}}
	certificate := &tls.Config{Certificates: lent.TLS.Certificates, MinVersion: tls.VersionTLS12}

	listener := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{got, c}, nil }))
	listener.Domain, listener.AllowInsecureAuth, listener.EnableSMTPUTF8 = "localhost", security == Plain, true
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got.address = socket.Addr().String()
	switch security {
	case TLS:
		socket = tls.NewListener(socket, certificate)
	case Plain:
	case STARTTLS:
		listener.TLSConfig = certificate
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = listener.Serve(socket) }()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return got
}

func (s *server) sender(t *testing.T, change func(*SMTPOptions)) *SMTP {
	t.Helper()
	opts := SMTPOptions{
		Address: s.address, Security: Plain, From: "Coditect <no-reply@coditect.example>", TLS: s.trust,
		Timeout: time.Minute, Now: func() time.Time { return time.Unix(1e9, 0).UTC() },
	}
	change(&opts)
	sender, err := NewSMTP(opts)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

var letter = Message{ID: "42", To: "ada@müller.example", Subject: "Grüße = hello", Text: "Line one, é\n.\nhttps://coditect.example/reset?token=abc=\n" + strings.Repeat("long ", 300)}

func TestSMTPDelivers(t *testing.T) {
	t.Parallel()
	for _, security := range []Security{Plain, STARTTLS, TLS} {
		t.Run(string(security), func(t *testing.T) {
			t.Parallel()
			s := serve(t, security)
			sender := s.sender(t, func(o *SMTPOptions) { o.Security, o.User, o.Password = security, "mailer", rightPassword })
			if err := sender.Send(t.Context(), letter); err != nil {
				t.Fatal(err)
			}
			if len(s.messages) != 1 || s.from != "no-reply@coditect.example" || s.to != "ada@xn--mller-kva.example" || s.user != "mailer" || s.secure != (security != Plain) {
				t.Fatalf("%+v", s)
			}
			m, err := mail.ReadMessage(strings.NewReader(s.messages[0]))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Header.Get("Message-ID"); got != "<42@coditect.example>" {
				t.Errorf("Message-ID %s", got)
			}
			if date, err := m.Header.Date(); err != nil || date.Unix() != 1e9 {
				t.Errorf("date %v, %v", date, err)
			}
			text := decoded(t, m)
			if text != letter.Text {
				t.Errorf("text %q", text)
			}
		})
	}
}

func TestSMTPRefusesWhatIsNotSafe(t *testing.T) {
	t.Parallel()
	plain := serve(t, Plain)
	for name, sender := range map[string]*SMTP{
		"no STARTTLS":     plain.sender(t, func(o *SMTPOptions) { o.Security = STARTTLS }),
		"no TLS":          plain.sender(t, func(o *SMTPOptions) { o.Security = TLS }),
		"wrong password":  plain.sender(t, func(o *SMTPOptions) { o.User, o.Password = "mailer", "wrong" }),
		"unknown roots":   serve(t, TLS).sender(t, func(o *SMTPOptions) { o.Security, o.TLS = TLS, nil }),
		"unknown for TLS": serve(t, STARTTLS).sender(t, func(o *SMTPOptions) { o.Security, o.TLS = STARTTLS, nil }),
	} {
		if err := sender.Send(t.Context(), letter); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	for _, m := range []Message{
		{ID: "1", To: "nobody@example.com"},
		{ID: "1", To: "nonsense"},
		{ID: "1", To: "a@b.example>\r\nRCPT TO:<c@d.example"},
		{ID: "1", To: "a@b.example", Subject: "x\r\nBcc: c@d.example"},
	} {
		if err := plain.sender(t, func(*SMTPOptions) {}).Send(t.Context(), m); err == nil {
			t.Errorf("%+v: sent", m)
		}
	}
	if len(plain.messages) != 0 {
		t.Errorf("arrived: %q", plain.messages)
	}
}

// A server that says nothing holds nobody up for longer than the timeout, nor
// than the caller waits.
func TestSMTPWaitsNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	socket, err := net.Listen("tcp", "127.0.0.1:0") // accepts nobody, greets nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	silent := &server{address: socket.Addr().String()}
	if err := silent.sender(t, func(o *SMTPOptions) { o.Timeout = 50 * time.Millisecond }).Send(t.Context(), letter); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := silent.sender(t, func(*SMTPOptions) {}).Send(ctx, letter); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNewSMTPReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := NewSMTP(SMTPOptions{Address: "nonsense", Security: "some", From: "nobody"})
	for _, want := range []string{"address of the server", "sender's address", `"some"`, "timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := NewSMTP(SMTPOptions{Address: "mail.example:25", Security: Plain, From: "a@b.example", User: "u", Timeout: 1}); err == nil {
		t.Error("a password may travel without TLS")
	}
}

func TestOnlyTheDevelopmentLogShowsALetter(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logs, nil))
	if err := (Discard{log}).Send(t.Context(), letter); err != nil || strings.Contains(logs.String(), "token") || strings.Contains(logs.String(), "ada") || !strings.Contains(logs.String(), "42") {
		t.Errorf("%v: %s", err, logs.String())
	}
	if err := (Log{log}).Send(t.Context(), letter); err != nil || !strings.Contains(logs.String(), "token=abc") {
		t.Errorf("%v: %s", err, logs.String())
	}
}

// decoded returns the text of a message as it was before it was encoded.
func decoded(t *testing.T, m *mail.Message) string {
	t.Helper()
	if got := m.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
		t.Fatalf("encoded as %s", got)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
}
