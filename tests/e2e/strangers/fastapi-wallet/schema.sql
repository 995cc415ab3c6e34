CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE refresh_tokens (
    token text PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    expires_at timestamptz NOT NULL
);
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    label text NOT NULL,
    balance_cents bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    source_id uuid NOT NULL REFERENCES accounts,
    target_id uuid NOT NULL REFERENCES accounts,
    amount_cents bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE audit (
    id uuid PRIMARY KEY,
    user_id uuid,
    action text NOT NULL,
    details jsonb NOT NULL,
    at timestamptz NOT NULL
);
