create table patients (
  record_no varchar(6) primary key,
  name varchar(80) not null,
  born date,
  sex char(1),
  phone varchar(20),
  id_card varchar(20),
  admitted {datetime},
  clinic varchar(30) not null
);
