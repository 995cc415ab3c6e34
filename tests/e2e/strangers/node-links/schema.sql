CREATE TABLE links (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    url text NOT NULL,
    owner text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    meta jsonb NOT NULL DEFAULT '{}',
    created_ms bigint NOT NULL
);
CREATE TABLE clicks (
    id uuid PRIMARY KEY,
    link_id uuid NOT NULL REFERENCES links,
    referrer text,
    visitor text NOT NULL,
    at timestamptz NOT NULL
);
