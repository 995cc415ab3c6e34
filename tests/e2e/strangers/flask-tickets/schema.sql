CREATE TABLE people (
    id serial PRIMARY KEY,
    name varchar(80) NOT NULL UNIQUE,
    password bytea NOT NULL,
    joined timestamp NOT NULL
);
CREATE TYPE state AS ENUM ('open', 'waiting', 'closed');
CREATE TABLE tickets (
    id serial PRIMARY KEY,
    reference varchar(20) NOT NULL UNIQUE,
    author_id integer NOT NULL REFERENCES people,
    subject varchar(200) NOT NULL,
    state state NOT NULL DEFAULT 'open',
    opened timestamp NOT NULL,
    changed timestamp
);
CREATE TABLE comments (
    id serial PRIMARY KEY,
    ticket_id integer NOT NULL REFERENCES tickets,
    author_id integer NOT NULL REFERENCES people,
    text text NOT NULL,
    written timestamp NOT NULL
);
