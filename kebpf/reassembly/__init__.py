"""reassembly"""
