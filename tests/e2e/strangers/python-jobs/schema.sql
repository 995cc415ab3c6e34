CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    task text NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued',
    attempts integer NOT NULL DEFAULT 0,
    result jsonb,
    due timestamptz NOT NULL,
    done timestamptz
);
