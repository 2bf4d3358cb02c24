create table price_list (
  branch varchar(10) not null,
  sku varchar(20) not null,
  price decimal(14, 2) not null,
  changed_at {datetime} not null,
  primary key (branch, sku)
);
