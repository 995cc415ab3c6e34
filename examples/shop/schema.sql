CREATE TABLE customers (
    id serial PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    password_salt text NOT NULL,
    password_hash text NOT NULL,
    language text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE products (
    id int PRIMARY KEY,
    sku text NOT NULL UNIQUE,
    name text NOT NULL,
    description text NOT NULL,
    category text NOT NULL,
    price numeric(10, 2) NOT NULL,
    stock int NOT NULL CHECK (stock >= 0),
    tags text[] NOT NULL,
    attributes jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customers,
    status text NOT NULL,
    currency text NOT NULL,
    total numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX orders_customer ON orders (customer_id, created_at);
CREATE TABLE order_items (
    order_id uuid NOT NULL REFERENCES orders,
    product_id int NOT NULL REFERENCES products,
    quantity int NOT NULL,
    price numeric(12, 2) NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
CREATE TABLE payments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    charge_id uuid NOT NULL,
    amount numeric(12, 2) NOT NULL,
    paid_at timestamptz NOT NULL
);
