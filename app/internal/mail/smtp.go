package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"time"
)

// Security is how a connection to the server is protected.
type Security string

// The ways.
const (
	STARTTLS Security = "starttls" // required: a server that does not offer it gets nothing
	TLS      Security = "tls"      // from the first byte
	Plain    Security = "none"     // for a server on the same host
)

// SMTPOptions name a server and how to speak to it.
type SMTPOptions struct {
	Address  string // host:port
	Security Security
	From     string      // an address, with or without a name
	User     string      // optional: no authentication without it
	Password string      // of User
	TLS      *tls.Config // optional: the system's roots
	Timeout  time.Duration
	Now      func() time.Time
}

// SMTP sends each message over a connection of its own.
type SMTP struct {
	opts SMTPOptions
	host string
	from *mail.Address
}

// NewSMTP reports every fault of opts together.
func NewSMTP(opts SMTPOptions) (*SMTP, error) {
	var faults []error
	host, _, err := net.SplitHostPort(opts.Address)
	if err != nil {
		faults = append(faults, fmt.Errorf("address of the server: %w", err))
	}
	from, err := mail.ParseAddress(opts.From)
	if err != nil {
		faults = append(faults, fmt.Errorf("sender's address: %w", err))
	}
	switch opts.Security {
	case STARTTLS, TLS:
	case Plain:
		if opts.User != "" && !loopback(host) {
			faults = append(faults, errors.New("a password must not travel without TLS"))
		}
	default:
		faults = append(faults, fmt.Errorf("security %q is none of %s, %s and %s", opts.Security, STARTTLS, TLS, Plain))
	}
	if opts.Timeout <= 0 {
		faults = append(faults, errors.New("a timeout is needed"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("configuring SMTP: %w", err)
	}
	return &SMTP{opts: opts, host: host, from: from}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send hands m to the server. When it returns nil the server has taken it over.
func (s *SMTP) Send(ctx context.Context, m Message) (err error) {
	to, err := asciiAddress(m.To)
	if err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	body, err := m.encode(s.from, to, s.opts.Now())
	if err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the mail server: %w", err)
	}
	// Closing the connection is what ends an exchange whose context is done.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := s.exchange(conn, to, body); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("speaking to the mail server: %w", err)
	}
	return nil
}

func (s *SMTP) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if s.opts.Security == TLS {
		return (&tls.Dialer{NetDialer: &d, Config: s.tls()}).DialContext(ctx, "tcp", s.opts.Address)
	}
	return d.DialContext(ctx, "tcp", s.opts.Address)
}

func (s *SMTP) tls() *tls.Config {
	if s.opts.TLS == nil {
		return &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	}
	cfg := s.opts.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = s.host
	}
	return cfg
}

func (s *SMTP) exchange(conn net.Conn, to string, body []byte) (err error) {
	client, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { _ = client.Close() }() // after QUIT there is nothing left to fail
	if s.opts.Security == STARTTLS {
		if err := client.StartTLS(s.tls()); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if s.opts.User != "" {
		if err := client.Auth(smtp.PlainAuth("", s.opts.User, s.opts.Password, s.host)); err != nil {
			return fmt.Errorf("signing in: %w", err)
		}
	}
	if err := client.Mail(s.from.Address); err != nil {
		return fmt.Errorf("naming the sender: %w", err)
	}
	if err := client.Rcpt(to); err != nil {
		return fmt.Errorf("naming the recipient: %w", err)
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("announcing the message: %w", err)
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("ending the message: %w", err)
	}
	_ = client.Quit() // the server has the message, however the goodbye ends
	return nil
}
