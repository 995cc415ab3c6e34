CREATE TABLE products (sku text PRIMARY KEY, name text NOT NULL, stock integer NOT NULL, price numeric(10, 2) NOT NULL);
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer text NOT NULL,
    total numeric(10, 2) NOT NULL,
    placed_at text NOT NULL
);
CREATE TABLE order_lines (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    sku text NOT NULL REFERENCES products,
    quantity integer NOT NULL,
    created timestamptz NOT NULL
);
INSERT INTO products
SELECT 'sku-' || n, 'Product ' || n, 100000, n * 1.25 FROM generate_series(1, 20) AS n;
