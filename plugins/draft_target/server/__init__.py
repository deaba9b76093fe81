"""The verification server: sessions of a target model behind gRPC."""
